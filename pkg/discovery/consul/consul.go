//go:build !embedded

package consul

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/hashicorp/consul/api"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
)

// Consul is a discovery.Source and a discovery.Registrar. It is safe for
// concurrent use.
type Consul struct {
	cfg    Config
	client *api.Client
	clock  clock.Clock
	jitter lifecycle.Jitter
	log    *slog.Logger
	keeper keeper
}

// Option changes what New makes.
type Option func(*Consul)

// WithJitter sets the randomness of pauses, for tests.
func WithJitter(j lifecycle.Jitter) Option { return func(c *Consul) { c.jitter = j } }

// New returns discovery by the agent at cfg.Addr, which is not asked yet.
func New(cfg Config, c clock.Clock, log *slog.Logger, opts ...Option) (*Consul, error) {
	// The environment (CONSUL_HTTP_ADDR …) is not read: settings have one place.
	client, err := api.NewClient(&api.Config{
		Address: cfg.Addr, Token: cfg.Token.Reveal(), Datacenter: cfg.Datacenter,
		Transport: newTransport(), Scheme: "http",
	})
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	out := &Consul{cfg: cfg, client: client, clock: c, jitter: rand.Float64, log: log}
	out.keeper.init()
	for _, opt := range opts {
		opt(out)
	}
	return out, nil
}

// Ping asks the agent for anything at all.
func (c *Consul) Ping(ctx context.Context) error {
	opts := (&api.QueryOptions{}).WithContext(ctx)
	if _, err := c.client.Status().LeaderWithQueryOptions(opts); err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	return nil
}
