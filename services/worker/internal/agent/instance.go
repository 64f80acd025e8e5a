package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// instance is one life of a model's engine: a process, unless the engine runs
// elsewhere, and the connection to it.
type instance struct {
	agent  *Agent
	model  *model
	child  *process.Process // nil when the engine is not ours to start
	engine engine.Engine
	dir    string // the engine's own, to be removed; empty when it has none
	// started lets others start on the engine's GPUs; nil when they need not wait.
	started func()

	once    sync.Once
	victims int // requests that were in flight when it ended
}

// ended returns how many requests were in flight when the engine ended, as the
// first of them to notice counted, that one included.
func (i *instance) ended() int {
	i.once.Do(func() { i.victims = i.model.gate.inFlight() })
	return i.victims
}

func (i *instance) letOthersStart() {
	if i.started != nil {
		i.started()
	}
}

func (i *instance) Exited() <-chan struct{} {
	if i.child == nil {
		return nil
	}
	return i.child.Exited()
}

// gone reports whether the engine has ended, of which its model may not know yet.
func (i *instance) gone() bool {
	select {
	case <-i.Exited():
		return true
	default:
		return false
	}
}

func (i *instance) Err() error { return i.child.Err() }

func (i *instance) Health(ctx context.Context) error { return i.engine.Health(ctx) }

func (i *instance) Stop() {
	i.model.child.Store(0)
	if i.child != nil {
		i.child.Stop(i.agent.force, i.agent.cfg.Supervision.StopGrace)
	}
	i.letOthersStart() // what it held of its GPUs is free again
	i.engine.Close()
	if i.dir != "" {
		_ = os.RemoveAll(i.dir) // what is left is removed before the next start
	}
}

// launch starts the model's engine, once its files are what the spec says.
func (a *Agent) launch(ctx context.Context, m *model) (supervise.Instance, error) {
	plan, err := a.prepare(ctx, m)
	if err != nil {
		return nil, err
	}
	cmd := plan.Command
	if cmd == nil {
		return &instance{agent: a, model: m, engine: plan.Connect(0)}, nil
	}
	started, err := a.turns.take(ctx, m.placed(), cmd.Measures)
	if err != nil {
		return nil, err
	}
	i, err := a.startEngine(ctx, m, plan)
	if err != nil {
		started()
		return nil, err
	}
	i.started = started
	return i, nil
}

// startEngine starts the process of the model's engine.
func (a *Agent) startEngine(ctx context.Context, m *model, plan *engine.Plan) (*instance, error) {
	cmd := plan.Command
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := a.setUp(cmd, m, port)
	if err != nil {
		return nil, err
	}
	where := dir
	if where == "" {
		where = a.cfg.WorkDir
	}
	args := cmd.Args(port)
	if cmd.Fit != nil {
		args = append(args, cmd.Fit(a.freeOf(ctx, m))...)
	}
	child, err := process.Start(ctx, process.Command{
		Path: cmd.Path, Args: args, Env: cmd.Environment(port), Dir: where,
		Batch: a.cfg.Batch && len(m.placed()) == 0, // a GPU would wait for what feeds it
	}, a.parts.Ledger, a.log.With(slog.String(keyModel, m.name)))
	if err != nil {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	a.log.InfoContext(ctx, "engine started", slog.String(keyModel, m.name), slog.String(keyEngine, m.spec.GetEngine()),
		slog.Int(process.KeyPID, child.PID()), slog.Int(keyPort, port))
	m.child.Store(int64(child.PID()))
	return &instance{agent: a, model: m, child: child, engine: plan.Connect(port), dir: dir}, nil
}

// setUp makes the directory that the engine is set up in, if it wants one. There
// is one for each version, so that what a crash left behind does not pile up.
func (a *Agent) setUp(cmd *engine.Command, m *model, port int) (string, error) {
	if cmd.Setup == nil {
		return "", nil
	}
	_, hex, _ := strings.Cut(m.digest, ":")
	dir := filepath.Join(a.cfg.WorkDir, "setups", hex)
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("set up the engine: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("set up the engine: %w", err)
	}
	if err := cmd.Setup(dir, port); err != nil {
		return "", fmt.Errorf("set up the engine: %w", err)
	}
	return dir, nil
}

// freePort returns a loopback port that was free a moment ago. Should another
// program take it meanwhile, the engine fails and is started with another one.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free port: %w", err)
	}
	defer func() { _ = lis.Close() }()
	addr, ok := lis.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("no free port: %v is not a TCP address", lis.Addr())
	}
	return addr.Port, nil
}

const factsTimeout = 5 * time.Second

// report takes what the supervisor says of a model's engine.
func (a *Agent) report(ctx context.Context, m *model, s supervise.Status) {
	attrs := []any{slog.String(keyModel, m.name), slog.String(keyDigest, m.digest), slog.Int(keyRestarts, s.Restarts)}
	var running *instance
	var facts engine.Facts
	switch s.State {
	case supervise.Starting:
		if s.Restarts > 0 {
			m.series.restarted(ctx)
		}
	case supervise.Failed:
		a.log.WarnContext(ctx, "model failed", append(attrs, slog.String("reason", s.Reason))...)
	case supervise.Ready:
		if i, ok := s.Instance.(*instance); ok {
			running = i
			i.letOthersStart()
			facts = a.ask(ctx, m, i.engine)
			if m.warmUp {
				a.warmUp(ctx, m, i.engine)
			}
			m.touch(a.parts.Clock.Now())
		}
		a.log.InfoContext(ctx, "model ready", attrs...)
	}
	m.set(s, running, facts)
	a.hub.changed()
}

// ask asks an engine what it is. One that does not say is still used.
func (a *Agent) ask(ctx context.Context, m *model, e engine.Engine) engine.Facts {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	facts, err := e.Facts(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "engine does not say what it is", slog.String(keyModel, m.name), slog.Any("error", err))
	}
	return facts
}
