package edge_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/arrival"
)

// backend serves what register registers and, as the real services do, asks for
// the caller's identity. It has no step that makes statuses of ours out of
// errors, so that a test can answer as a connection that fails does.
func backend(tb testing.TB, register func(grpc.ServiceRegistrar)) grpc.ClientConnInterface {
	tb.Helper()
	return network{inproc.New(grpcserver.Chain{
		grpcserver.RequestID(ids.Sequence("backend")), identity.Server(identity.Plain(), func(method string) bool {
			return method != registryv1.RegistryService_Watch_FullMethodName // the edge's own
		}),
	}, register)}
}

// remote has a stream's header come with its first answer, as it does between
// processes.
type remote struct{ grpc.ClientConnInterface }

func (r remote) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := r.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return &remoteStream{ClientStream: s, answered: make(chan struct{})}, err
}

type remoteStream struct {
	grpc.ClientStream
	once     sync.Once
	answered chan struct{}
}

func (s *remoteStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.once.Do(func() { close(s.answered) })
	return err
}

func (s *remoteStream) Header() (metadata.MD, error) {
	select {
	case <-s.answered:
		return s.ClientStream.Header()
	case <-s.Context().Done():
		return nil, s.Context().Err()
	}
}

// fakeInference answers as it is told, and remembers what it was asked.
type fakeInference struct {
	inferencev1.UnimplementedInferenceServiceServer

	mu       sync.Mutex
	invoked  []*inferencev1.InvokeRequest
	embedded []*inferencev1.EmbedRequest
	// embedding is called before texts are embedded; nil: nothing is.
	embedding func(ctx context.Context) error
	reranked  []*inferencev1.RerankRequest
	caller    identity.Caller
	policy    string          // what the policy says of versions, encoded
	arrived   arrival.Arrival // of the edge's own call

	// unary and stream answer; nil gives a short answer.
	unary  func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error)
	stream func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error
	ready  bool

	// by is who answers, when it is set; placementProblem and variants are the model's.
	by               *inferencev1.ServedBy
	others           []*inferencev1.ServedModel // served beside it
	placementProblem string
	variants         []*inferencev1.ServedVariant

	// resolve says what would answer; nil says served, when that has a digest.
	resolve func(req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error)

	// quantize answers QuantizeModel.
	quantize func(req *inferencev1.QuantizeModelRequest, out grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) error

	counted []*inferencev1.CountTokensRequest
	// count answers what a prompt has; nil says 11 of 4096.
	count func(req *inferencev1.CountTokensRequest) (*inferencev1.CountTokensResponse, error)

	inferred []*inferencev1.InferTensorsRequest
	// infer answers requests with tensors; nil repeats their inputs.
	infer func(req *inferencev1.InferTensorsRequest) ([]*oip.ModelInferResponse, error)
}

func (f *fakeInference) note(ctx context.Context, req *inferencev1.InvokeRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.invoked = append(f.invoked, req)
	f.caller, _ = identity.FromContext(ctx)
	f.policy = strings.Join(metadata.ValueFromIncomingContext(ctx, "poterne-policy-bin"), "")
	if client := inproc.ClientContext(ctx); client != nil {
		f.arrived = arrival.From(client)
	}
}

// last returns the body of the last request, as the engine would have it.
func (f *fakeInference) last(t *testing.T) map[string]any {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.invoked) == 0 {
		t.Fatal("the inference service was not asked")
	}
	var body map[string]any
	if err := json.Unmarshal(f.invoked[len(f.invoked)-1].GetBody(), &body); err != nil {
		t.Fatalf("the engine got no JSON: %v", err)
	}
	return body
}

func (f *fakeInference) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.invoked)
}

func (f *fakeInference) lastArrival() arrival.Arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

// served is who answers.
func (f *fakeInference) served() *inferencev1.ServedBy {
	if f.by != nil {
		return f.by
	}
	return servedBy()
}

func servedBy() *inferencev1.ServedBy {
	return &inferencev1.ServedBy{Model: "small", Version: 3, Experiment: "price", Arm: "canary", WorkerId: "w1", Attempts: 1}
}

func usage() *commonv1.TokenUsage {
	return &commonv1.TokenUsage{PromptTokens: 7, CompletionTokens: 2}
}

func (f *fakeInference) Invoke(ctx context.Context, req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
	f.note(ctx, req)
	if f.unary != nil {
		return f.unary(req)
	}
	body := `{"id":"e1","object":"chat.completion","created":5,"model":"/models/x.gguf","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9},"timings":{"cache_n": 3}}`
	if req.GetOperation() == workerv1.Operation_OPERATION_COMPLETION {
		body = `{"id":"e2","object":"text_completion","created":5,"choices":[{"index":0,"text":" Paris","finish_reason":"length"}]}`
	}
	return &inferencev1.InvokeResponse{ServedBy: f.served(), Body: []byte(body), Usage: usage()}, nil
}

func sendServedBy(out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
	return out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: servedBy()}})
}

func sendChunk(out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse], chunk string) error {
	return out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_Chunk{Chunk: []byte(chunk)}})
}

// sendCounted sends a chunk and what was used with it.
func sendCounted(out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse], chunk string, prompt, completion int32) error {
	return out.Send(&inferencev1.InvokeStreamResponse{
		Event: &inferencev1.InvokeStreamResponse_Chunk{Chunk: []byte(chunk)},
		Usage: &commonv1.TokenUsage{PromptTokens: prompt, CompletionTokens: completion},
	})
}

func sendFinish(out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
	return out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_Finish{
		Finish: &inferencev1.Finish{Usage: usage()},
	}})
}

const (
	firstChunk = `{"id":"e1","object":"chat.completion.chunk","created":5,"model":"x","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}`
	helloChunk = `{"id":"e1","object":"chat.completion.chunk","created":5,"model":"x","choices":[{"index":0,"delta":{"content":"Hel\nlo"},"finish_reason":null}]}`
	lastChunk  = `{"id":"e1","object":"chat.completion.chunk","created":5,"model":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	usageChunk = `{"id":"e1","object":"chat.completion.chunk","created":5,"model":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}`
)

func (f *fakeInference) InvokeStream(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
	f.note(out.Context(), req)
	if f.stream != nil {
		return f.stream(req, out)
	}
	if err := out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: f.served()}}); err != nil {
		return err
	}
	for _, chunk := range []string{firstChunk, helloChunk, lastChunk, usageChunk} {
		if err := sendChunk(out, chunk); err != nil {
			return err
		}
	}
	return sendFinish(out)
}

func (f *fakeInference) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	f.mu.Lock()
	f.embedded = append(f.embedded, req)
	f.mu.Unlock()
	if f.embedding != nil {
		if err := f.embedding(ctx); err != nil {
			return nil, err
		}
	}
	out := &inferencev1.EmbedResponse{ServedBy: f.served(), Usage: &commonv1.TokenUsage{PromptTokens: 4}}
	for range req.GetInputs() {
		out.Embeddings = append(out.Embeddings, &workerv1.Embedding{Values: []float32{0.5, -1, 0.1}})
	}
	return out, nil
}

func (f *fakeInference) CountTokens(_ context.Context, req *inferencev1.CountTokensRequest) (*inferencev1.CountTokensResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted = append(f.counted, req)
	if f.count != nil {
		return f.count(req)
	}
	return &inferencev1.CountTokensResponse{ServedBy: servedBy(), PromptTokens: 11, ContextLength: 4096}, nil
}

func (f *fakeInference) setReady(ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = ready
}

func (f *fakeInference) model() *inferencev1.ServedModel {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &inferencev1.ServedModel{
		Name: "small", Task: commonv1.Task_TASK_CHAT, DefaultVersion: 3, ContextLength: 2048,
		State: inferencev1.ServingState_SERVING_STATE_LOADING, Aliases: map[string]int32{"stable": 3},
		PlacementProblem: f.placementProblem, Variants: f.variants,
	}
	if f.ready {
		m.State = inferencev1.ServingState_SERVING_STATE_READY
	}
	return m
}

func (f *fakeInference) ListServedModels(context.Context, *inferencev1.ListServedModelsRequest) (*inferencev1.ListServedModelsResponse, error) {
	f.mu.Lock()
	others := f.others
	f.mu.Unlock()
	return &inferencev1.ListServedModelsResponse{Models: append([]*inferencev1.ServedModel{f.model()}, others...)}, nil
}

func (f *fakeInference) GetServedModel(_ context.Context, req *inferencev1.GetServedModelRequest) (*inferencev1.GetServedModelResponse, error) {
	switch req.GetModel() {
	case "small", "small@stable", "small@v3", "small@sha256:abc":
		return &inferencev1.GetServedModelResponse{Model: f.model()}, nil
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range f.others {
			if m.GetName() == req.GetModel() {
				return &inferencev1.GetServedModelResponse{Model: m}, nil
			}
		}
		return nil, apierr.New(apierr.ModelNotFound, "there is no model %q", req.GetModel()).WithField("model")
	}
}

// fakeRegistry lists nothing, and keeps variants.
type fakeRegistry struct {
	registryv1.UnimplementedRegistryServiceServer

	// models is what watchers are told; nil: nobody may watch.
	models atomic.Pointer[registryv1.SnapshotPart]
	// changes are told to a watcher as they come; nil: none do.
	changes chan *registryv1.WatchResponse

	mu       sync.Mutex
	variants map[string]*registryv1.Variant // by name
	caller   identity.Caller
	// verdicts are what RecordFeedback was told, by response.
	verdicts map[string]*registryv1.RecordFeedbackRequest
	// refuse is what CreateVariant answers, if it is set.
	refuse error
}

func (*fakeRegistry) ListModels(context.Context, *registryv1.ListModelsRequest) (*registryv1.ListModelsResponse, error) {
	return &registryv1.ListModelsResponse{}, nil
}
