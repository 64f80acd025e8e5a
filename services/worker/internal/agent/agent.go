// Package agent is what a worker does: it admits models against the machine's
// memory, keeps an engine running for each, passes requests to them, and tells
// its state. It knows engines only by the interfaces of package engine, and
// nothing of who calls it. Start reading at Agent.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/quantize"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// Config tunes the agent.
type Config struct {
	// ID names this worker among all, and stays the same across restarts.
	ID      string
	Version string
	// MaxModels bounds the models loaded at once.
	MaxModels int
	// DrainTimeout bounds the wait for requests in flight when a model is
	// unloaded or the agent ends.
	DrainTimeout time.Duration
	// WorkDir is the working directory of engines.
	WorkDir     string
	Supervision supervise.Config
	// Batch has engines without GPUs be batch work to the system's scheduler.
	Batch bool
	// MinIdle is how long a model must not have been used to be unloaded for
	// another.
	MinIdle time.Duration
	// WarmUpTimeout bounds a warm-up.
	WarmUpTimeout time.Duration
	// SampleEvery is the time between two looks at the machine.
	SampleEvery time.Duration
	// FixedGPUs says that GPUs for which there is no pool are not used.
	FixedGPUs bool
	Embedding EmbeddingConfig
	Signals   SignalsConfig
}

// Parts is what the agent works with. All are needed, but Ledger is used only
// for engines that are started, Machine, GPUs and Learned may be nil: what they
// would tell is then not known, and so may Maker: nothing is then quantised.
type Parts struct {
	Telemetry *telemetry.Telemetry
	Clock     clock.Clock
	Jitter    lifecycle.Jitter
	Adapters  []engine.Adapter
	Pools     *memory.Pools
	Artifacts *artifact.Store
	Ledger    *process.Ledger
	Machine   Machine
	GPUs      *gpu.Inventory
	Learned   *memory.Learned
	Maker     *quantize.Maker
	// Trust says what must be signed to be loaded; the zero value asks for nothing.
	Trust signing.Policy
}

// Agent implements WorkerService. It is safe for concurrent use.
type Agent struct {
	workerv1.UnimplementedWorkerServiceServer

	cfg      Config
	parts    Parts
	kinds    []string // of engines that can be started here
	log      *slog.Logger
	metrics  *metrics
	hub      *hub
	sequence atomic.Int64
	inFlight atomic.Int64

	// loading holds off other loads while one is being decided. Those that wait
	// for it can be given up, or a model that is unloaded for another would wait
	// for that one, and that one for it.
	loading    *semaphore.Weighted
	quarantine *quarantine
	turns      turns

	mu         sync.RWMutex
	models     map[string]*model
	quantizing *quantizing // what is being quantised; nil when nothing is
	draining   bool
	ended      chan struct{} // closed when the streams of state are to end

	// force is ended when engines that stop must be killed.
	force     context.Context //nolint:containedctx // the life of the agent's children
	forceStop context.CancelFunc
}

// New returns an agent that has no models.
func New(cfg Config, parts Parts) (*Agent, error) {
	a := &Agent{
		cfg: cfg, parts: parts, log: parts.Telemetry.Logger, hub: newHub(),
		models: make(map[string]*model), ended: make(chan struct{}), loading: semaphore.NewWeighted(1),
		quarantine: newQuarantine(cfg.Supervision.Quarantine, cfg.Supervision.QuarantineMax),
	}
	for _, ad := range parts.Adapters {
		if err := ad.Available(); err != nil {
			a.log.Info("engine is not offered", slog.String(keyEngine, ad.Kind()), telemetry.Err(err))
			continue
		}
		a.kinds = append(a.kinds, ad.Kind())
	}
	slices.Sort(a.kinds)
	a.force, a.forceStop = context.WithCancel(context.Background())
	var err error
	if a.metrics, err = newMetrics(parts.Telemetry, a); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return a, nil
}

// Recover ends engines that an earlier agent left behind, and then looks at what
// the machine has.
func (a *Agent) Recover(ctx context.Context) error {
	_, err := a.parts.Ledger.Reap(ctx, a.log)
	a.look(ctx)
	return err
}

func (a *Agent) adapter(kind string) (engine.Adapter, error) {
	for _, ad := range a.parts.Adapters {
		if ad.Kind() == kind {
			if err := ad.Available(); err != nil {
				return nil, a.noEngine(kind, err)
			}
			return ad, nil
		}
	}
	return nil, a.noEngine(kind, nil)
}

func (a *Agent) noEngine(kind string, cause error) error {
	return apierr.Wrap(apierr.FailedPrecondition, cause, "this worker has no engine %q, only %q", kind, a.kinds).
		WithMetadata("engine", kind).WithMetadata("engines", strings.Join(a.kinds, ","))
}

// lookup returns the model that serves digest, and its engine.
func (a *Agent) lookup(digest string) (*model, *instance, error) {
	a.mu.RLock()
	m, ok := a.models[digest]
	a.mu.RUnlock()
	if !ok {
		return nil, nil, apierr.New(apierr.Unavailable, "this worker does not have the version").WithMetadata("digest", digest)
	}
	if e := m.running(); e != nil && !e.gone() {
		return m, e, nil
	}
	return nil, nil, apierr.New(apierr.Unavailable, "the version is not ready on this worker").WithMetadata("digest", digest).
		WithMetadata(metadataEngineAway, "true")
}

// list returns the models, by digest.
func (a *Agent) list() []*model {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]*model, 0, len(a.models))
	for _, m := range a.models {
		out = append(out, m)
	}
	slices.SortFunc(out, func(x, y *model) int { return strings.Compare(x.digest, y.digest) })
	return out
}
