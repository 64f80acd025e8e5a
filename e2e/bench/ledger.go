package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/process"
)

const (
	ledgerModel = "ledger-sim"
	// ledgerTTL is how long what a killed edge held is kept.
	ledgerTTL     = 5 * time.Second
	ledgerClients = 16
)

// Ledger has so many requests made of two edges on one PostgreSQL, of which some
// fail, some are left by their clients, some are made twice, and kills the edges
// again and again; then it compares what is settled with what the engines counted.
func Ledger(requests, kills int, log *slog.Logger) func(ctx context.Context) ([]Row, error) {
	return func(ctx context.Context) (_ []Row, err error) {
		l := &ledgerRun{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * ledgerClients}}, plans: make([]*ledgerPlan, 0, requests)}
		defer func() { err = errors.Join(err, l.down()) }()
		if err := l.up(ctx, log); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := l.traffic(ctx, requests, kills); err != nil {
			return nil, err
		}
		took := time.Since(began)
		if err := l.settle(ctx); err != nil {
			return nil, err
		}
		return l.compare(ctx, took)
	}
}

// ledgerRun is one run.
type ledgerRun struct {
	mesh   *mesh.Mesh
	dir    string
	key    string
	parts  mesh.Parts
	client *http.Client
	kills  int

	mu    sync.Mutex
	plans []*ledgerPlan
}

func (l *ledgerRun) up(ctx context.Context, log *slog.Logger) error {
	var err error
	if l.parts, err = mesh.PartsFromEnv(); err != nil {
		return err
	}
	ports, err := mesh.FreePorts(ctx)
	if err != nil {
		return err
	}
	bin := os.Getenv("POTERNE_BIN_DIR")
	if bin == "" {
		return errors.New("POTERNE_BIN_DIR is not set")
	}
	if l.dir, err = os.MkdirTemp("", "poterne-ledger"); err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil { // PostgreSQL runs as another user
		return err
	}
	l.mesh, err = mesh.Up(ctx, mesh.Options{
		Root: filepath.Dir(bin), BinDir: bin, StateDir: l.dir, Parts: l.parts, Ports: ports, Engine: mesh.EngineSim, Logger: log,
		EdgeEnv: []string{
			"POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0", "POTERNE_USAGE_LEASE_TTL=" + ledgerTTL.String(),
			"POTERNE_USAGE_TIMEOUT=5s",
		},
	})
	if err != nil {
		return err
	}
	if l.key, err = l.mesh.AdminKey(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "poterne"), "models", "register", ledgerModel, "--alias", "production", "--task", "chat", "--engine", "sim",
		"--context-length", "8192", "--parameter", "slots=64")
	cmd.Env = append(os.Environ(), "POTERNE_URL="+l.mesh.URL(), "POTERNE_API_KEY="+l.key)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("register the model: %w: %s", err, out)
	}
	for path, body := range map[string]string{
		"/v1/admin/prices":  `{"price":{"model":"` + ledgerModel + `","rates":{"input":150000,"output":600000}}}`,
		"/v1/admin/budgets": `{"budget":{"id":"tokens","scope":"tenant","period":"total","unit":"tokens","amount":1000000000,"warnings":[99],"hard":true}}`,
	} {
		if _, err := l.call(ctx, 0, http.MethodPost, path, body); err != nil {
			return err
		}
	}
	if _, err := l.call(ctx, 0, http.MethodPost, "/v1/admin/budgets", `{"budget":{"id":"money","scope":"tenant","period":"month","unit":"money","amount":1000000000000,"hard":true}}`); err != nil {
		return err
	}
	// Both edges serve the model, and know the budgets, before anything counts.
	for i := range 2 {
		if err := process.Poll(ctx, func(ctx context.Context) error {
			out, err := l.call(ctx, i, http.MethodGet, "/v1/usage", "")
			if known, _ := out["budgets"].([]any); err == nil && len(known) != 2 {
				err = errors.New("the edge does not know the budgets")
			}
			return err
		}); err != nil {
			return err
		}
		if err := process.Poll(ctx, func(ctx context.Context) error { return l.try(ctx, i) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledgerRun) down() error {
	var err error
	if l.mesh != nil {
		err = l.mesh.Down()
	}
	if l.dir != "" && os.Getenv("POTERNE_TEST_KEEP") == "" {
		err = errors.Join(err, os.RemoveAll(l.dir))
	}
	return err
}

func (l *ledgerRun) try(ctx context.Context, edge int) error {
	p := &ledgerPlan{kind: planWhole, id: fmt.Sprintf("first-%d-%d", edge, time.Now().UnixNano()), tokens: 1}
	l.mu.Lock()
	l.plans = append(l.plans, p)
	l.mu.Unlock()
	if p.run(ctx, l, edge); p.whole {
		return nil
	}
	return fmt.Errorf("edge %d does not serve: %d", edge, p.status)
}

func (l *ledgerRun) url(edge int) string {
	return fmt.Sprintf("http://127.0.0.1:%d", l.mesh.Ports().Edge[edge].HTTP)
}

// call asks for administration.
func (l *ledgerRun) call(ctx context.Context, edge int, method, path, body string) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.url(edge)+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, raw)
	}
	var out map[string]any
	err = json.Unmarshal(raw, &out)
	return out, err
}

// traffic makes the requests, and kills edges meanwhile.
func (l *ledgerRun) traffic(ctx context.Context, requests, kills int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range ledgerClients {
		rnd := rand.New(rand.NewPCG(uint64(c), 42))
		wg.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				if n > int64(requests) {
					return
				}
				edge := rnd.IntN(2)
				for i, p := range newPlans(rnd, n) {
					l.mu.Lock()
					l.plans = append(l.plans, p)
					l.mu.Unlock()
					if p.kind == planTwice && i == 0 { // both at once, at both edges
						wg.Go(func() { p.run(ctx, l, 1-edge) })
						continue
					}
					p.run(ctx, l, edge)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for l.kills < kills {
		goal := int64(requests) * int64(l.kills+1) / int64(kills+1)
		for next.Load() < goal {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Millisecond):
				continue
			}
			break
		}
		p := l.mesh.Process(fmt.Sprintf("edge-%d", l.kills%2+1))
		if err := p.Kill(); err != nil {
			return err
		}
		l.kills++
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	<-done
	return ctx.Err()
}

// settle waits until nothing is in hand and everything is written.
func (l *ledgerRun) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return process.Poll(ctx, func(ctx context.Context) error {
		for edge := range 2 {
			if _, err := l.call(ctx, edge, http.MethodGet, "/v1/admin/usage", ""); err != nil { // writes what waits
				return err
			}
		}
		engines, err := l.engines(ctx)
		if err != nil {
			return err
		}
		for _, e := range engines {
			var state struct{ Running, Waiting int }
			if err := l.engine(ctx, e, "/sim/state", &state); err != nil {
				return err
			}
			if state.Running+state.Waiting > 0 {
				return errors.New("engines are at work")
			}
		}
		return nil
	})
}
