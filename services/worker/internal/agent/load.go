package agent

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// freshEnough is how old the machine's figures may be when a model is admitted.
const freshEnough = time.Second

// LoadModel admits a version, or says with figures why not.
func (a *Agent) LoadModel(ctx context.Context, req *workerv1.LoadModelRequest) (*workerv1.LoadModelResponse, error) {
	a.loading.Lock()
	defer a.loading.Unlock()
	if have, err := a.present(req); have != nil || err != nil {
		return have, err
	}
	c, err := a.candidate(ctx, req)
	if err != nil {
		return nil, err
	}
	a.sample(ctx, freshEnough)
	at, err := a.makeRoom(ctx, c, req.GetEvict())
	if err != nil {
		return nil, err
	}
	if err := a.settle(ctx, c, at); err != nil {
		return nil, err
	}
	m := c.model
	if short := a.parts.Pools.Reserve(m.share()); short != nil {
		return nil, tooLarge(m.name, short)
	}
	if !a.start(m) { //nolint:contextcheck // the engine outlives the call
		a.parts.Pools.Release(m.share())
		return nil, errDraining()
	}
	a.log.InfoContext(ctx, "model admitted", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest),
		slog.Int64(keyMemory, m.memory()), slog.Int(keyGPUs, len(at.gpus)))
	return &workerv1.LoadModelResponse{Model: m.snapshot()}, nil
}

// present answers for a version that is there already, or cannot be.
func (a *Agent) present(req *workerv1.LoadModelRequest) (*workerv1.LoadModelResponse, error) {
	a.mu.RLock()
	m, ok := a.models[req.GetDigest()]
	draining := a.draining
	a.mu.RUnlock()
	switch {
	case draining:
		return nil, errDraining()
	case ok && m.isDraining():
		return nil, apierr.New(apierr.Unavailable, "the version is just being unloaded").WithRetryAfter(time.Second)
	case ok:
		if m.pinned.Swap(req.GetPinned()) != req.GetPinned() {
			a.hub.changed()
		}
		return &workerv1.LoadModelResponse{Model: m.snapshot()}, nil
	}
	if req.GetLiftQuarantine() && a.quarantine.lift(req.GetDigest()) {
		a.hub.changed()
	}
	return nil, a.quarantine.refusal(req.GetDigest(), a.parts.Clock.Now())
}

func errDraining() error {
	return apierr.New(apierr.Unavailable, "this worker is ending and takes no new work")
}

// candidate is a model that is not admitted yet.
type candidate struct {
	model   *model
	adapter engine.Adapter
	input   engine.Model
	// size is what it takes of GPUs; zero when it uses none.
	size    engine.Size
	devices map[string]string
	limit   int // of models
	learned *memory.Learned
}

// corrected is the estimate after what earlier loads of the version took; n is
// the number of GPUs that it is spread over.
func (c *candidate) corrected(estimate map[string]int64, n int) map[string]int64 {
	if c.learned == nil {
		return estimate
	}
	return memory.Corrected(estimate, func(pool string) float64 { return c.learned.Ratio(lesson(c.model.digest, pool, n)) })
}

// lesson is the key under which it is learnt what a version takes. Its digest
// covers its parameters.
func lesson(digest, pool string, gpus int) string {
	if pool == engine.PoolCPU {
		return fmt.Sprintf("%s/%s/%d", digest, pool, gpus)
	}
	return fmt.Sprintf("%s/%s/%d", digest, gpuPrefix, gpus)
}

// candidate finds the engine and the files, and how large the model is.
func (a *Agent) candidate(ctx context.Context, req *workerv1.LoadModelRequest) (*candidate, error) {
	spec, ok := proto.Clone(req.GetSpec()).(*commonv1.ModelSpec)
	if !ok {
		return nil, apierr.Invalid("spec", "spec is missing")
	}
	adapter, err := a.adapter(spec.GetEngine())
	if err != nil {
		return nil, err
	}
	name := req.GetName()
	if name == "" {
		name = req.GetDigest()
	}
	m := &model{
		digest: req.GetDigest(), name: name, spec: spec, warmUp: req.GetWarmUp(), done: make(chan struct{}),
		status: supervise.Status{State: supervise.Starting}, peak: make(map[string]int64),
	}
	m.pinned.Store(req.GetPinned())
	for i, art := range spec.GetArtifacts() {
		file, err := a.parts.Artifacts.Locate(art, i)
		if err != nil {
			return nil, err
		}
		role := art.GetRole()
		if role == "" {
			role = engine.RoleWeights
		}
		m.files = append(m.files, engine.File{Role: role, Path: file, Name: path.Base(art.GetUri()), SizeBytes: art.GetSizeBytes()})
	}
	c := &candidate{
		model: m, adapter: adapter, input: engine.Model{Name: name, Spec: spec, Files: m.files},
		devices: a.devicesOf(), limit: a.cfg.MaxModels, learned: a.parts.Learned,
	}
	if sizer, is := adapter.(engine.Sizer); is && len(c.devices) > 0 {
		if c.size, err = sizer.Size(ctx, c.input); err != nil {
			return nil, err
		}
	}
	if c.size.Shared == 0 {
		m.plan, err = adapter.Plan(ctx, c.input)
	}
	return c, err
}

// settle fills in what follows from where the model goes.
func (a *Agent) settle(ctx context.Context, c *candidate, at spot) error {
	m := c.model
	if m.plan == nil {
		c.input.GPUs = at.gpus
		var err error
		if m.plan, err = c.adapter.Plan(ctx, c.input); err != nil {
			return err
		}
	}
	m.gpus = at.gpus
	m.reserved, m.estimated = at.need, sum(at.need)
	m.turns = a.cfg.Embedding.turns(m.plan.Slots)
	m.gate = newGate(m.plan.Slots, m.plan.MaxInFlight)
	m.series = a.metrics.of(m.name)
	m.touch(a.parts.Clock.Now())
	return nil
}

func tooLarge(name string, s *memory.Shortage) error {
	var err *apierr.Error
	switch {
	case !s.Known:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, which this worker does not have", name, size(s.Needed), s.ID)
	case s.Closed != "":
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, which is not used: %s", name, size(s.Needed), s.ID, s.Closed)
	case s.Measured != memory.Unknown && s.Measured < s.Total-s.Used:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, where %s of %s are free: others on this machine take the rest",
			name, size(s.Needed), s.ID, size(s.Available), size(s.Total))
	default:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, where %s of %s are free",
			name, size(s.Needed), s.ID, size(s.Available), size(s.Total))
	}
	return err.WithMetadata("pool", s.ID).WithMetadata("needed_bytes", strconv.FormatInt(s.Needed, 10)).
		WithMetadata("free_bytes", strconv.FormatInt(s.Available, 10)).WithMetadata("total_bytes", strconv.FormatInt(s.Total, 10))
}

func size(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// start puts the model in and begins to supervise its engine, unless the agent
// is ending.
func (a *Agent) start(m *model) bool {
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(a.force) // the engine outlives the call that asks for it
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		m.cancel()
		return false
	}
	a.models[m.digest] = m
	cfg := a.cfg.Supervision
	if m.plan.Command == nil {
		cfg.QuarantineAfter = 0 // what runs elsewhere is not ours to judge
	}
	sup := supervise.New(cfg, a.parts.Clock, a.parts.Jitter,
		func(ctx context.Context) (supervise.Instance, error) { return a.launch(ctx, m) },
		func(ctx context.Context, s supervise.Status) { a.report(ctx, m, s) })
	go func() {
		looped := sup.Run(ctx)
		m.set(supervise.Status{State: supervise.Starting}, nil, engine.Facts{})
		if looped != nil && !m.isDraining() {
			a.isolate(ctx, m, looped)
		}
		a.remove(m)
		close(m.done)
	}()
	return true
}

// remove takes out a model whose engine is gone.
func (a *Agent) remove(m *model) {
	a.learn(m)
	a.mu.Lock()
	delete(a.models, m.digest)
	a.mu.Unlock()
	a.parts.Pools.Release(m.share())
	a.hub.changed()
}

// UnloadModel lets the requests in flight end and then ends the engine. It
// returns at once: the state tells when the model is gone. A quarantine of the
// version ends.
func (a *Agent) UnloadModel(ctx context.Context, req *workerv1.UnloadModelRequest) (*workerv1.UnloadModelResponse, error) {
	if a.quarantine.lift(req.GetDigest()) {
		a.hub.changed()
	}
	a.mu.RLock()
	m, ok := a.models[req.GetDigest()]
	a.mu.RUnlock()
	if !ok || m.drain() {
		return &workerv1.UnloadModelResponse{}, nil
	}
	a.log.InfoContext(ctx, "model is being unloaded", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest))
	a.hub.changed()
	timer := a.parts.Clock.NewTimer(a.cfg.DrainTimeout)
	go func() {
		defer timer.Stop()
		select {
		case <-m.gate.shutDown():
		case <-timer.C():
		case <-m.done:
		}
		m.cancel()
	}()
	return &workerv1.UnloadModelResponse{}, nil
}
