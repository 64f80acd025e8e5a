package fakes

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// Worker is a worker without engines. What it answers is decided by its
// functions, which may be nil. It is safe for concurrent use; its exported
// fields are set before it is served.
type Worker struct {
	workerv1.UnimplementedWorkerServiceServer

	ID      string
	Engines []string
	// OnInvoke and OnStream stand for the engine.
	OnInvoke func(ctx context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error)
	OnStream func(req *workerv1.InvokeRequest, stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]) error
	// OnRerank may be nil: a document's score is then its length.
	OnRerank func(ctx context.Context, req *workerv1.RerankRequest) (*workerv1.RerankResponse, error)
	OnEmbed  func(ctx context.Context, req *workerv1.EmbedRequest) (*workerv1.EmbedResponse, error)
	OnInfer  func(req *workerv1.InferTensorsRequest, send func(*oip.ModelInferResponse) error) error
	// OnLoad decides whether a version is admitted; nil admits, and the version
	// is ready at once.
	OnLoad func(w *Worker, req *workerv1.LoadModelRequest) error
	// Quantizers and Artifacts are told in the state; OnQuantize stands for the
	// first, and nil answers with a result at once.
	Quantizers []*workerv1.Quantizer
	Artifacts  []uint64
	OnQuantize func(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error

	mu       sync.Mutex
	models   []*workerv1.LoadedModel
	draining bool
	free     int64
	sequence int64
	muted    bool
	changed  chan struct{}
	loads    []string // digests, in the order asked
	unloads  []string
}

// NewWorker returns a worker that can start Engine and has nothing loaded.
func NewWorker(id string) *Worker {
	return &Worker{ID: id, Engines: []string{Engine}, free: 8 << 30, changed: make(chan struct{})}
}

// Change changes the state under the lock and pushes it.
func (w *Worker) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Set sets a version's state; MODEL_STATE_UNSPECIFIED removes it.
func (w *Worker) Set(digest string, state workerv1.ModelState) {
	w.change(func() { w.set(digest, state) })
}

func (w *Worker) set(digest string, state workerv1.ModelState) {
	var next []*workerv1.LoadedModel
	restarts := int32(0)
	for _, m := range w.models {
		if m.GetDigest() != digest {
			next = append(next, m)
		} else {
			restarts = m.GetRestarts()
		}
	}
	if state != workerv1.ModelState_MODEL_STATE_UNSPECIFIED {
		next = append(next, &workerv1.LoadedModel{Digest: digest, State: state, Slots: 4, Engine: Engine, ContextLength: 2048, Restarts: restarts})
	}
	w.models = next
}

// Report sets the load that the worker reports for a version.
func (w *Worker) Report(digest string, slots, active, queued int32) {
	w.change(func() {
		for i, m := range w.models {
			if m.GetDigest() == digest {
				w.models[i] = &workerv1.LoadedModel{
					Digest: digest, State: m.GetState(), Engine: m.GetEngine(), Slots: slots, Active: active, Queued: queued,
				}
			}
		}
	})
}

// FillKV sets the share of the KV cache that the worker reports to be taken.
func (w *Worker) FillKV(digest string, share float64) {
	w.change(func() {
		for i, m := range w.models {
			if m.GetDigest() == digest {
				w.models[i] = &workerv1.LoadedModel{
					Digest: digest, State: m.GetState(), Engine: m.GetEngine(), Slots: m.GetSlots(), KvCacheUsage: &share,
				}
			}
		}
	})
}

// Fetch sets how far the fetching of a version's files is.
func (w *Worker) Fetch(digest string, f *workerv1.FetchProgress) {
	w.change(func() {
		for i, m := range w.models {
			if m.GetDigest() == digest {
				w.models[i] = &workerv1.LoadedModel{Digest: digest, State: m.GetState(), Engine: m.GetEngine(), Fetch: f}
			}
		}
	})
}

// Restart counts a start of a version's engine.
func (w *Worker) Restart(digest string) {
	w.change(func() {
		for i, m := range w.models {
			if m.GetDigest() == digest {
				w.models[i] = &workerv1.LoadedModel{
					Digest: digest, State: m.GetState(), Engine: m.GetEngine(), Slots: m.GetSlots(), Restarts: m.GetRestarts() + 1,
				}
			}
		}
	})
}

// ahead is by how much a worker's clock is fast.
const ahead = time.Hour

// Fail has a version's engine fail, to be started again after a pause: by Set and
// Restart.
func (w *Worker) Fail(digest string, pause time.Duration) {
	w.change(func() {
		w.set(digest, workerv1.ModelState_MODEL_STATE_FAILED)
		m := w.models[len(w.models)-1]
		m.RestartTime, m.RestartPause = timestamppb.New(clock.Real().Now().Add(ahead+pause)), durationpb.New(pause)
	})
}

// Drain says whether the worker takes no new work.
func (w *Worker) Drain(on bool) { w.change(func() { w.draining = on }) }

// SetFree sets the free memory that the worker reports.
func (w *Worker) SetFree(bytes int64) { w.change(func() { w.free = bytes }) }

// Mute stops the states while the stream stays open.
func (w *Worker) Mute(on bool) { w.change(func() { w.muted = on }) }

// Reset empties the worker, as a restart does.
func (w *Worker) Reset() { w.change(func() { w.models = nil }) }

// Loads returns the digests that the worker was asked to load, in order.
func (w *Worker) Loads() []string { return w.asked(&w.loads) }

// Unloads returns the digests that the worker was asked to unload, in order.
func (w *Worker) Unloads() []string { return w.asked(&w.unloads) }

func (w *Worker) asked(list *[]string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), *list...)
}

// WatchState pushes the state at once, on change and every second.
func (w *Worker) WatchState(_ *workerv1.WatchStateRequest, stream grpc.ServerStreamingServer[workerv1.WatchStateResponse]) error {
	tick := clock.Real().NewTicker(time.Second)
	defer tick.Stop()
	for {
		w.mu.Lock()
		w.sequence++
		state := &workerv1.WorkerState{
			WorkerId: w.ID, Sequence: w.sequence, Engines: w.Engines, Draining: w.draining,
			Models:     append([]*workerv1.LoadedModel(nil), w.models...),
			Memory:     []*workerv1.MemoryPool{{Id: "cpu", TotalBytes: 16 << 30, FreeBytes: w.free}},
			Quantizers: w.Quantizers, Artifacts: w.Artifacts, ObserveTime: timestamppb.New(clock.Real().Now().Add(ahead)),
		}
		changed, muted := w.changed, w.muted
		w.mu.Unlock()
		if !muted {
			if err := stream.Send(&workerv1.WatchStateResponse{State: state}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-tick.C():
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// LoadModel admits what OnLoad admits.
func (w *Worker) LoadModel(_ context.Context, req *workerv1.LoadModelRequest) (*workerv1.LoadModelResponse, error) {
	w.mu.Lock()
	w.loads = append(w.loads, req.GetDigest())
	w.mu.Unlock()
	if w.OnLoad != nil {
		if err := w.OnLoad(w, req); err != nil {
			return nil, err
		}
	} else {
		w.Set(req.GetDigest(), workerv1.ModelState_MODEL_STATE_READY)
	}
	return &workerv1.LoadModelResponse{Model: &workerv1.LoadedModel{Digest: req.GetDigest()}}, nil
}

// UnloadModel removes the version.
func (w *Worker) UnloadModel(_ context.Context, req *workerv1.UnloadModelRequest) (*workerv1.UnloadModelResponse, error) {
	w.mu.Lock()
	quarantined := slices.ContainsFunc(w.models, func(m *workerv1.LoadedModel) bool {
		return m.GetDigest() == req.GetDigest() && m.GetState() == workerv1.ModelState_MODEL_STATE_QUARANTINED
	})
	if !req.GetQuarantineOnly() {
		w.unloads = append(w.unloads, req.GetDigest())
	}
	w.mu.Unlock()
	if quarantined || !req.GetQuarantineOnly() {
		w.Set(req.GetDigest(), workerv1.ModelState_MODEL_STATE_UNSPECIFIED)
	}
	return &workerv1.UnloadModelResponse{QuarantineLifted: quarantined}, nil
}

// ready refuses a version that is not ready, as a worker does.
func (w *Worker) ready(digest string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.models {
		if m.GetDigest() == digest && m.GetState() == workerv1.ModelState_MODEL_STATE_READY {
			return nil
		}
	}
	return apierr.New(apierr.FailedPrecondition, "version %s is not loaded", digest)
}

// Invoke answers with the request's body, or as OnInvoke says.
func (w *Worker) Invoke(ctx context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	if w.OnInvoke != nil {
		return w.OnInvoke(ctx, req)
	}
	return &workerv1.InvokeResponse{
		Body: req.GetBody(), Usage: &commonv1.TokenUsage{PromptTokens: 10, CachedPromptTokens: 4, CompletionTokens: 6},
	}, nil
}

// InvokeStream does as OnStream says.
func (w *Worker) InvokeStream(req *workerv1.InvokeRequest, stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]) error {
	if err := w.ready(req.GetDigest()); err != nil {
		return err
	}
	if w.OnStream != nil {
		return w.OnStream(req, stream)
	}
	return Answer(stream, string(req.GetBody()))
}

// Embed answers one vector for each input, or as OnEmbed says.
func (w *Worker) Embed(ctx context.Context, req *workerv1.EmbedRequest) (*workerv1.EmbedResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	if w.OnEmbed != nil {
		return w.OnEmbed(ctx, req)
	}
	resp := new(workerv1.EmbedResponse)
	for range req.GetInputs() {
		resp.Embeddings = append(resp.Embeddings, &workerv1.Embedding{Values: []float32{1, 0, 0, 0}})
	}
	return resp, nil
}

// Rerank answers one score for each document, or as OnRerank says.
func (w *Worker) Rerank(ctx context.Context, req *workerv1.RerankRequest) (*workerv1.RerankResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	if w.OnRerank != nil {
		return w.OnRerank(ctx, req)
	}
	resp := new(workerv1.RerankResponse)
	for _, d := range req.GetDocuments() {
		resp.RelevanceScores = append(resp.RelevanceScores, float64(len(d)))
	}
	return resp, nil
}

// Tokenize counts a byte of the body for a token.
func (w *Worker) Tokenize(_ context.Context, req *workerv1.TokenizeRequest) (*workerv1.TokenizeResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	return &workerv1.TokenizeResponse{PromptTokens: int32(len(req.GetBody())), ContextLength: 2048}, nil
}
