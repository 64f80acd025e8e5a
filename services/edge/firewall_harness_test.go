package edge_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/ruleset"
)

// watched is the rule set, with what it last said.
type watched struct {
	firewall.Engine

	mu    sync.Mutex
	asked bool
	last  firewall.Verdict
}

// Judge asks the rule set.
func (w *watched) Judge(r firewall.Request) (firewall.Verdict, error) {
	v, err := w.Engine.Judge(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.last = true, v
	return v, err
}

// take returns what the rule set said since the last time, and whether it was
// asked at all.
func (w *watched) take() (rules []int, asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rules, asked = slices.Clone(w.last.Rules), w.asked
	w.asked, w.last = false, firewall.Verdict{}
	return rules, asked
}

// walled opens a gate behind the core rule set.
func walled(t *testing.T, change func(*edge.FirewallConfig)) (*gate, *watched) {
	t.Helper()
	w := new(watched)
	g := open(t, func(c *edge.Config) {
		c.Security.Firewall.Mode = firewall.Block
		if change != nil {
			change(&c.Security.Firewall)
		}
		c.Security.Limits.RequestsPerMinute = 1_000_000
	}, edge.WithFirewall(func(cfg edge.FirewallConfig) (edge.FirewallEngine, error) {
		e, err := ruleset.Open(cfg)
		w.Engine = e
		return w, err
	}))
	return g, w
}

// newEdge puts an edge together that may not come about.
func newEdge(t *testing.T, change func(*edge.Config), opts ...edge.Option) (*edge.Service, error) {
	t.Helper()
	cfg := edge.DefaultConfig()
	cfg.DataDir = t.TempDir()
	change(cfg)
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	return edge.New(t.Context(), *cfg, append([]edge.Option{edge.WithTelemetry(telemetry.Discard())}, opts...)...)
}
