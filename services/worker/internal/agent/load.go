package agent

import (
	"context"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	modeldigest "github.com/poterne/poterne/pkg/digest"
	"github.com/poterne/poterne/pkg/signing"
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
	if a.loading.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	defer a.loading.Release(1)
	if have, err := a.present(req); have != nil || err != nil {
		return have, err
	}
	if err := a.checkSigned(req); err != nil {
		return nil, err
	}
	c, err := a.candidate(ctx, req)
	if err != nil {
		return nil, err
	}
	m := c.model
	if err := a.admit(ctx, c); err != nil {
		m.artifacts.Release()
		return nil, err
	}
	if !a.start(m) { //nolint:contextcheck // the engine outlives the call
		a.letGo(m)
		return nil, errDraining()
	}
	a.log.InfoContext(ctx, "model admitted", slog.String(keyModel, m.name), slog.String(keyDigest, m.digest),
		slog.Int64(keyMemory, m.memory()), slog.Int(keyGPUs, len(m.gpus)))
	return &workerv1.LoadModelResponse{Model: m.snapshot("")}, nil
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
		return &workerv1.LoadModelResponse{Model: m.snapshot("")}, nil
	}
	if req.GetLiftQuarantine() && a.quarantine.lift(req.GetDigest()) {
		a.hub.changed()
	}
	return nil, a.quarantine.refusal(req.GetDigest(), a.parts.Clock.Now())
}

func errDraining() error {
	return apierr.New(apierr.Unavailable, "this worker is ending and takes no new work")
}

// candidate finds the engine and the files, and how large the model is if they
// are here.
func (a *Agent) candidate(ctx context.Context, req *workerv1.LoadModelRequest) (*candidate, error) {
	spec, ok := proto.Clone(req.GetSpec()).(*commonv1.ModelSpec)
	if !ok {
		return nil, apierr.Invalid("spec", "spec is missing")
	}
	if err := engine.CheckExtras(spec); err != nil {
		return nil, err
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
		digest: req.GetDigest(), name: name, spec: spec, adapter: adapter, warmUp: req.GetWarmUp(), evict: req.GetEvict(),
		done: make(chan struct{}), status: supervise.Status{State: supervise.Starting}, peak: make(map[string]int64),
		gate: newGate(0, 0), series: a.metrics.of(name),
	}
	m.pinned.Store(req.GetPinned())
	m.touch(a.parts.Clock.Now())
	m.batcher = a.batcher(m.series)
	all := slices.Clone(spec.GetArtifacts())
	for _, adapter := range spec.GetAdapters() {
		all = append(all, adapter.GetArtifacts()...)
	}
	if m.artifacts, err = a.parts.Artifacts.Hold(strings.TrimPrefix(m.digest, "sha256:"), all); err != nil {
		return nil, err
	}
	for i, file := range m.artifacts.Paths() {
		m.files = append(m.files, fileOf(all[i], file))
	}
	m.files, m.adapters = partAdapters(spec, m.files)
	c := a.candidateOf(m)
	if m.artifacts.Present() {
		if err := c.survey(ctx); err != nil {
			m.artifacts.Release()
			return nil, err
		}
	}
	return c, nil
}

// partAdapters parts the files of a spec's artifacts from those of its adapters,
// which follow them.
func partAdapters(spec *commonv1.ModelSpec, all []engine.File) (files []engine.File, adapters [][]engine.File) {
	n := len(spec.GetArtifacts())
	files, all = all[:n:n], all[n:]
	for _, adapter := range spec.GetAdapters() {
		n := len(adapter.GetArtifacts())
		adapters, all = append(adapters, all[:n:n]), all[n:]
	}
	return files, adapters
}

// checkSigned refuses a version that no trusted key has signed, where that is
// asked for. A signature is over a digest: that it is this specification's is not
// believed but computed, or whoever asks could have anything loaded under the
// digest of something that was signed once.
func (a *Agent) checkSigned(req *workerv1.LoadModelRequest) error {
	if !a.parts.Trust.Required() {
		return nil
	}
	is, err := modeldigest.Of(req.GetSpec())
	if err != nil {
		return apierr.Wrap(apierr.FailedPrecondition, err, "this worker loads only what is signed, and cannot compute the digest of %s: %v", req.GetDigest(), err).
			WithField("spec")
	}
	if is != req.GetDigest() {
		return apierr.New(apierr.FailedPrecondition, "this worker loads only what is signed: the specification's digest is %s, and not %s", is, req.GetDigest()).
			WithField("digest")
	}
	if err := signing.Check(a.parts.Trust, req.GetDigest(), req.GetSignatures()); err != nil {
		return apierr.New(apierr.FailedPrecondition, "this worker loads only what is signed: of %s, %v", req.GetDigest(), err).WithField("signatures")
	}
	return nil
}

func fileOf(art *commonv1.Artifact, file string) engine.File {
	f := engine.File{
		Role: art.GetRole(), Path: file, Name: path.Base(file), SizeBytes: art.GetSizeBytes(), SHA256: art.GetSha256(),
	}
	if f.Role == "" {
		f.Role = engine.RoleWeights
	}
	if local, ok := strings.CutPrefix(art.GetUri(), "file://"); ok {
		f.Name = path.Base(local) // the path is where links lead to
	}
	return f
}

func tooLarge(name string, s *memory.Shortage) error {
	var err *apierr.Error
	switch {
	case !s.Known:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, which this worker does not have", name, config.Bytes(s.Needed).InMiB(), s.ID)
	case s.Closed != "":
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, which is not used: %s", name, config.Bytes(s.Needed).InMiB(), s.ID, s.Closed)
	case s.Measured != memory.Unknown && s.Measured < s.Total-s.Used:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, where %s of %s are free: others on this machine take the rest",
			name, config.Bytes(s.Needed).InMiB(), s.ID, config.Bytes(s.Available).InMiB(), config.Bytes(s.Total).InMiB())
	default:
		err = apierr.New(apierr.FailedPrecondition, "%s needs %s on %s, where %s of %s are free",
			name, config.Bytes(s.Needed).InMiB(), s.ID, config.Bytes(s.Available).InMiB(), config.Bytes(s.Total).InMiB())
	}
	return err.WithMetadata("pool", s.ID).WithMetadata("needed_bytes", strconv.FormatInt(s.Needed, 10)).
		WithMetadata("free_bytes", strconv.FormatInt(s.Available, 10)).WithMetadata("total_bytes", strconv.FormatInt(s.Total, 10))
}

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
		looped := sup.Run(ctx)
		m.cancel() // it may have given up by itself
		<-followed
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
	// First, so that who asks for the version again finds all of it gone.
	a.letGo(m)
	a.mu.Lock()
	delete(a.models, m.digest)
	a.mu.Unlock()
	a.hub.changed()
}

// UnloadModel lets the requests in flight end and then ends the engine. It
// returns at once: the state tells when the model is gone. A quarantine of the
// version ends; when only that is asked for, nothing else does.
func (a *Agent) UnloadModel(ctx context.Context, req *workerv1.UnloadModelRequest) (*workerv1.UnloadModelResponse, error) {
	lifted := a.quarantine.lift(req.GetDigest())
	if lifted {
		a.hub.changed()
		a.log.InfoContext(ctx, "quarantine lifted", slog.String(keyDigest, req.GetDigest()))
	}
	resp := &workerv1.UnloadModelResponse{QuarantineLifted: lifted}
	if req.GetQuarantineOnly() {
		return resp, nil
	}
	a.mu.RLock()
	m, ok := a.models[req.GetDigest()]
	a.mu.RUnlock()
	if !ok || m.drain() {
		return resp, nil
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
	return resp, nil
}
