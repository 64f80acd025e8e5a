package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// LoadModel admits a version, or says with figures why not.
func (a *Agent) LoadModel(ctx context.Context, req *workerv1.LoadModelRequest) (*workerv1.LoadModelResponse, error) {
	a.loading.Lock()
	defer a.loading.Unlock()
	if have, err := a.present(req.GetDigest()); have != nil || err != nil {
		return have, err
	}
	m, err := a.plan(ctx, req)
	if err != nil {
		return nil, err
	}
	if short := a.hold(m, m.need()); short != nil {
		m.artifacts.Release()
		return nil, tooLarge(m, short)
	}
	if !a.start(m) { //nolint:contextcheck // the engine outlives the call
		a.letGo(m)
		return nil, errDraining()
	}
	a.log.InfoContext(ctx, "model admitted", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest),
		slog.Int64(keyMemory, m.memory()))
	return &workerv1.LoadModelResponse{Model: m.snapshot("")}, nil
}

// present answers for a version that is there already, or cannot be.
func (a *Agent) present(digest string) (*workerv1.LoadModelResponse, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.draining {
		return nil, errDraining()
	}
	m, ok := a.models[digest]
	switch {
	case ok && m.isDraining():
		return nil, apierr.New(apierr.Unavailable, "the version is just being unloaded").WithRetryAfter(time.Second)
	case ok:
		return &workerv1.LoadModelResponse{Model: m.snapshot("")}, nil
	case len(a.models) >= a.cfg.MaxModels:
		return nil, apierr.New(apierr.FailedPrecondition, "this worker has %d models, and takes no more", len(a.models)).
			WithMetadata("models", strconv.Itoa(len(a.models)))
	}
	return nil, nil //nolint:nilnil // neither there nor refused: go on
}

func errDraining() error {
	return apierr.New(apierr.Unavailable, "this worker is ending and takes no new work")
}

// plan finds the engine and the files.
func (a *Agent) plan(ctx context.Context, req *workerv1.LoadModelRequest) (*model, error) {
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
		digest: req.GetDigest(), name: name, spec: spec, adapter: adapter, done: make(chan struct{}),
		status: supervise.Status{State: supervise.Starting}, gate: newGate(0, 0), series: a.metrics.of(name),
	}
	if m.artifacts, err = a.parts.Artifacts.Hold(strings.TrimPrefix(m.digest, "sha256:"), spec.GetArtifacts()); err != nil {
		return nil, err
	}
	for i, path := range m.artifacts.Paths() {
		art := spec.GetArtifacts()[i]
		role := art.GetRole()
		if role == "" {
			role = engine.RoleWeights
		}
		m.files = append(m.files, engine.File{Role: role, Path: path, SizeBytes: art.GetSizeBytes(), SHA256: art.GetSha256()})
	}
	if m.artifacts.Present() {
		err = a.settle(ctx, m)
	} else {
		err = a.guess(m)
	}
	if err != nil {
		m.artifacts.Release()
		return nil, err
	}
	m.batcher = a.batcher(m.series)
	return m, nil
}

func tooLarge(m *model, s *memory.Shortage) error {
	var err *apierr.Error
	if !s.Known {
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, which this worker does not have", m.name, size(s.Needed), s.ID)
	} else {
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, where %s of %s are free",
			m.name, size(s.Needed), s.ID, size(s.Free()), size(s.Total))
	}
	return err.WithMetadata("pool", s.ID).WithMetadata("needed_bytes", strconv.FormatInt(s.Needed, 10)).
		WithMetadata("free_bytes", strconv.FormatInt(s.Free(), 10)).WithMetadata("total_bytes", strconv.FormatInt(s.Total, 10))
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
	sup := supervise.New(a.cfg.Supervision, a.parts.Clock, a.parts.Jitter,
		func(ctx context.Context) (supervise.Instance, error) { return a.launch(ctx, m) },
		func(ctx context.Context, s supervise.Status) { a.report(ctx, m, s) })
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		a.follow(ctx, m)
	}()
	go func() {
		sup.Run(ctx)
		<-followed
		m.set(supervise.Status{State: supervise.Starting}, nil, engine.Facts{})
		a.remove(m)
		close(m.done)
	}()
	return true
}

// remove takes out a model whose engine is gone.
func (a *Agent) remove(m *model) {
	// First, so that who asks for the version again finds all of it gone.
	a.letGo(m)
	a.mu.Lock()
	delete(a.models, m.digest)
	a.mu.Unlock()
	a.hub.changed()
}

// UnloadModel lets the requests in flight end and then ends the engine. It
// returns at once: the state tells when the model is gone.
func (a *Agent) UnloadModel(ctx context.Context, req *workerv1.UnloadModelRequest) (*workerv1.UnloadModelResponse, error) {
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
