package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

const mib = 1 << 20

// fakeEngine is an engine, and the adapter that makes it, as the test wants it.
type fakeEngine struct {
	kind    string
	memory  int64
	command *engine.Command // what is started; nil: it runs elsewhere

	mu      sync.Mutex
	size    engine.Size      // what it takes of GPUs
	takes   map[string]int64 // in place of memory, by pool
	given   []engine.GPU     // to the last plan
	warmed  []string         // bodies of what it was asked, the newest last
	plans   int
	refuses error // what Plan returns
	health  error
	release chan struct{} // requests wait for it
	running int
	err     error
	signals engine.Signals
	told    error // instead of signals
	asked   int   // for signals

	embedded []int // inputs of each call, where they are batched
}

func newFakeEngine() *fakeEngine { return &fakeEngine{kind: "fake", memory: 40 * mib} }

func (f *fakeEngine) Kind() string     { return f.kind }
func (f *fakeEngine) Available() error { return nil }

func (f *fakeEngine) Plan(_ context.Context, m engine.Model) (*engine.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plans++
	if f.refuses != nil {
		return nil, f.refuses
	}
	for _, file := range m.Files {
		if _, err := os.Stat(file.Path); err != nil {
			return nil, err
		}
	}
	f.given = m.GPUs
	p := &engine.Plan{
		Connect: func(int) engine.Engine { return f }, Slots: 2, MaxInFlight: 3, ContextLength: 1000,
		Command:     f.command,
		MemoryBytes: map[string]int64{engine.PoolCPU: f.memory},
	}
	if f.takes != nil {
		p.MemoryBytes = f.takes
	}
	if len(m.GPUs) > 0 {
		p.MemoryBytes = f.size.On(m.GPUs)
	}
	return p, nil
}

func (f *fakeEngine) Size(context.Context, engine.Model) (engine.Size, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, nil
}

func (f *fakeEngine) Health(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

func (f *fakeEngine) Facts(context.Context) (engine.Facts, error) {
	return engine.Facts{Slots: 2, ContextLength: 2000, Dimensions: 3}, nil
}

func (f *fakeEngine) Close() {}

func (f *fakeEngine) Signals(context.Context) (engine.Signals, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.signals, f.told
}

// askedSince is how often the load was asked for since the last time.
func (f *fakeEngine) askedSince() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.asked
	f.asked = 0
	return n
}

func (f *fakeEngine) CountTokens(ctx context.Context, _ engine.Operation, body []byte) (int, error) {
	return len(body), f.work(ctx, string(body))
}

func (f *fakeEngine) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeEngine) busy() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// work runs one request: it waits as long as the test wants.
func (f *fakeEngine) work(ctx context.Context, body string) error {
	f.mu.Lock()
	f.warmed = append(f.warmed, body)
	release, err := f.release, f.err
	f.running++
	f.mu.Unlock()
	defer f.set(func() { f.running-- })
	if release != nil {
		select {
		case <-release:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

func (f *fakeEngine) Invoke(ctx context.Context, _ engine.Operation, body []byte) (engine.Answer, error) {
	if err := f.work(ctx, string(body)); err != nil {
		return engine.Answer{}, err
	}
	return engine.Answer{Body: body, Usage: &commonv1.TokenUsage{PromptTokens: 3}}, nil
}

func (f *fakeEngine) Stream(ctx context.Context, _ engine.Operation, body []byte, sink engine.Sink) (*commonv1.TokenUsage, error) {
	if err := sink.Accepted(); err != nil {
		return nil, err
	}
	if err := sink.Chunk(body); err != nil {
		return nil, err
	}
	if err := f.work(ctx, string(body)); err != nil {
		return nil, err
	}
	return &commonv1.TokenUsage{CompletionTokens: 1}, sink.Chunk([]byte("{}"))
}

func (f *fakeEngine) Embed(ctx context.Context, r engine.EmbedRequest) (engine.Embeddings, error) {
	out := engine.Embeddings{Usage: &commonv1.TokenUsage{PromptTokens: 1}}
	for range r.Inputs {
		done, err := r.Turn(ctx)
		if err != nil {
			return engine.Embeddings{}, err
		}
		err = f.work(ctx, "embed")
		done()
		if err != nil {
			return engine.Embeddings{}, err
		}
		out.Vectors = append(out.Vectors, []float32{1, 0, 0})
	}
	return out, nil
}

// rig is an agent behind a connection. It must be made in the bubble of fake
// time in which it is used.
type rig struct {
	*testing.T
	agent  *Agent
	engine *fakeEngine
	client workerv1.WorkerServiceClient
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, func(*Config, *Parts) {})
}

// newRigWith changes what the agent is made of.
func newRigWith(t *testing.T, change func(cfg *Config, parts *Parts)) *rig {
	t.Helper()
	tel := telemetry.Discard()
	files, err := artifact.NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeEngine()
	other := newFakeEngine()
	other.kind = "other"
	cfg := Config{
		ID: "w1", Version: "test", MaxModels: 3, DrainTimeout: 10 * time.Second, Supervision: supervise.DefaultConfig(),
		Signals:   SignalsConfig{Interval: time.Second, Timeout: 2 * time.Second},
		Embedding: EmbeddingConfig{Concurrency: 1, ContextMultiple: 4, MaxBytes: 1 << 20},
		MinIdle:   10 * time.Second, WarmUpTimeout: 5 * time.Second, SampleEvery: 5 * time.Second,
	}
	parts := Parts{
		Telemetry: tel, Clock: clock.Real(), Adapters: []engine.Adapter{f, other}, Artifacts: files,
		Pools: memory.NewPools(map[string]int64{engine.PoolCPU: 100 * mib}),
	}
	change(&cfg, &parts)
	a, err := New(cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	conn := inproc.New(grpcserver.Chain{grpcserver.Errors()}, func(r grpc.ServiceRegistrar) { workerv1.RegisterWorkerServiceServer(r, a) })
	r := &rig{T: t, agent: a, engine: f, client: workerv1.NewWorkerServiceClient(conn)}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func (r *rig) load(c string) (*workerv1.LoadedModel, error) {
	return r.loadAs(c, func(*workerv1.LoadModelRequest) {})
}

// loadAs changes the request.
func (r *rig) loadAs(c string, change func(req *workerv1.LoadModelRequest)) (*workerv1.LoadedModel, error) {
	req := &workerv1.LoadModelRequest{
		Digest: digest(c), Name: "m" + c, Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "fake"},
	}
	change(req)
	resp, err := r.client.LoadModel(r.Context(), req)
	return resp.GetModel(), err
}

func evict(req *workerv1.LoadModelRequest)  { req.Evict = true }
func pinned(req *workerv1.LoadModelRequest) { req.Pinned = true }

// ready loads a model and waits until it serves.
func (r *rig) ready(c string) {
	r.Helper()
	if _, err := r.load(c); err != nil {
		r.Fatal(err)
	}
	r.awaitReady(c)
}

func (r *rig) awaitReady(c string) {
	r.Helper()
	for range 1000 {
		if r.state(c).GetState() == workerv1.ModelState_MODEL_STATE_READY {
			return
		}
		pass(time.Millisecond)
	}
	r.Fatalf("not ready: %v", r.state(c))
}

// state is what the worker says of a model; nil when it does not have it.
func (r *rig) state(c string) *workerv1.LoadedModel {
	for _, m := range r.agent.State("").GetModels() {
		if m.GetDigest() == digest(c) {
			return m
		}
	}
	return nil
}

func (r *rig) invoke(c string) error {
	_, err := r.client.Invoke(r.Context(), &workerv1.InvokeRequest{
		Digest: digest(c), Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{"a":1}`),
	})
	return err
}

var errEngine = errors.New("the engine is broken")

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }
