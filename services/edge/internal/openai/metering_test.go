package openai

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/responseid"
)

// meter remembers what it was asked and told.
type meter struct {
	refuse error
	asked  []metering.Demand
	used   []metering.Use
	ends   []error
}

func (m *meter) Begin(_ context.Context, d metering.Demand, _ func(metadata.MD) error) (metering.Hold, error) {
	m.asked = append(m.asked, d)
	return m, m.refuse
}

func (m *meter) Note(u metering.Use)              { m.used = append(m.used, u) }
func (m *meter) End(_ context.Context, err error) { m.ends = append(m.ends, err) }

// engine answers everything with usage; streams end with fail.
type engine struct {
	Inference
	calls int
	fail  error
}

func (e *engine) Invoke(context.Context, *inferencev1.InvokeRequest, ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	e.calls++
	return &inferencev1.InvokeResponse{
		ServedBy: &inferencev1.ServedBy{Model: "small", Version: 3}, Body: []byte(`{"choices":[]}`),
		Usage: &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 4},
	}, nil
}

func (e *engine) InvokeStream(context.Context, *inferencev1.InvokeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error) {
	e.calls++
	return &engineStream{fail: e.fail, rest: []*inferencev1.InvokeStreamResponse{
		{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: &inferencev1.ServedBy{Model: "small", Version: 3}}},
		{
			Event: &inferencev1.InvokeStreamResponse_Chunk{Chunk: []byte(`{"choices":[{"index":0,"delta":{"content":"a"}}]}`)},
			Usage: &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 1},
		},
	}}, nil
}

func (e *engine) Embed(_ context.Context, in *inferencev1.EmbedRequest, _ ...grpc.CallOption) (*inferencev1.EmbedResponse, error) {
	e.calls++
	return &inferencev1.EmbedResponse{
		ServedBy: &inferencev1.ServedBy{Model: "small", Version: 3}, Usage: &commonv1.TokenUsage{PromptTokens: 7},
		Embeddings: make([]*workerv1.Embedding, len(in.GetInputs())),
	}, nil
}

type engineStream struct {
	grpc.ClientStream
	rest []*inferencev1.InvokeStreamResponse
	fail error
}

func (s *engineStream) Recv() (*inferencev1.InvokeStreamResponse, error) {
	if len(s.rest) == 0 {
		return nil, s.fail
	}
	next := s.rest[0]
	s.rest = s.rest[1:]
	return next, nil
}

// callerStream is a caller who goes away at the first chunk when gone is set.
type callerStream struct {
	grpc.ServerStream
	ctx  context.Context
	gone error
}

func (s callerStream) Context() context.Context                        { return s.ctx }
func (callerStream) SetHeader(metadata.MD) error                       { return nil }
func (s callerStream) Send(*edgev1.StreamChatCompletionResponse) error { return s.gone }

type headers struct{ grpc.ServerTransportStream }

func (headers) SetHeader(metadata.MD) error { return nil }
func (headers) Method() string              { return "/method" }

func metered(t *testing.T, m *meter, e *engine) (*Server, context.Context) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := New(Deps{
		Config: DefaultConfig(), Inference: e, Meters: metering.Meters{m}, Codec: jsoncodec.New(jsoncodec.Options{}),
		Clock: clock.NewFake(time.Unix(1_800_000_000, 0)), IDs: ids.UUIDv7(), Responses: responseid.New([]byte("01234567890123456789012345678901")),
		Inspector: inspect.New(detect.NewRules(detect.Config{}, detect.All()), nil), Log: log,
	})
	return s, grpc.NewContextWithServerTransportStream(t.Context(), headers{})
}

func hello() *edgev1.CreateChatCompletionRequest {
	n, most := int32(3), int32(40)
	return &edgev1.CreateChatCompletionRequest{
		Model: "small", User: "alice", N: &n, MaxTokens: &most,
		Messages: []*edgev1.ChatMessage{{Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "Hello"}}}},
	}
}

func TestWorkIsMetered(t *testing.T) {
	m, e := new(meter), new(engine)
	s, ctx := metered(t, m, e)
	if _, err := s.CreateChatCompletion(ctx, hello()); err != nil {
		t.Fatal(err)
	}
	d := m.asked[0]
	if d.Kind != metering.Generate || d.Model != "small" || d.User != "alice" || d.MaxTokens != 120 || d.PromptBytes == 0 {
		t.Errorf("asked %+v", d)
	}
	if len(m.used) != 1 || m.used[0].By.GetVersion() != 3 || m.used[0].Tokens.GetCompletionTokens() != 4 {
		t.Errorf("told %v", m.used)
	}
	if len(m.ends) != 1 || m.ends[0] != nil {
		t.Errorf("ended with %v", m.ends)
	}
}

func TestWhatIsRefusedDoesNotWork(t *testing.T) {
	m, e := &meter{refuse: apierr.New(apierr.RateLimited, "no more")}, new(engine)
	s, ctx := metered(t, m, e)
	_, chat := s.CreateChatCompletion(ctx, hello())
	stream := s.StreamChatCompletion(hello(), callerStream{ctx: ctx})
	_, embed := s.CreateEmbedding(ctx, &edgev1.CreateEmbeddingRequest{Model: "small", Input: &edgev1.TextInput{Input: &edgev1.TextInput_Text{Text: "x"}}})
	_, rerank := s.Rerank(ctx, &edgev1.RerankRequest{Model: "small", Query: "x"})
	for _, err := range []error{chat, stream, embed, rerank} {
		if apierr.From(err).Reason != apierr.RateLimited {
			t.Errorf("got %v", err)
		}
	}
	if e.calls != 0 || len(m.ends) != 0 || len(m.asked) != 4 {
		t.Errorf("%d calls, %d ends, asked %d times", e.calls, len(m.ends), len(m.asked))
	}
}

// What a stream says that it cost is what it is billed: classes that the contract has no
// members for count too.
func TestTheCostOfClassesIsTold(t *testing.T) {
	p := &pricing{meter: new(meter)}
	s, ctx := metered(t, new(meter), new(engine))
	s.Meters = metering.Meters{p}
	u := &edgev1.Usage{
		PromptTokens: 9, CompletionTokens: 8, PromptTokensDetails: &edgev1.PromptTokensDetails{CachedTokens: 1, Extra: map[string]string{"audio_tokens": "2"}},
		Extra: map[string]string{"completion_tokens_details": `{"reasoning_tokens":3,"audio_tokens":4}`},
	}
	s.tellCost(ctx, &inferencev1.ServedBy{Model: "small"}, u, nil, s.Clock.Now())
	want := &commonv1.TokenUsage{
		PromptTokens: 9, CompletionTokens: 8, CachedPromptTokens: 1, AudioPromptTokens: 2, ReasoningTokens: 3, AudioCompletionTokens: 4,
	}
	if !proto.Equal(p.priced, want) || u.GetExtra()[memberCost] != `"0.000007 USD"` {
		t.Errorf("priced were %v, told is %v", p.priced, u.GetExtra())
	}
}

// pricing is a meter with a price of 7 millionths for everything.
type pricing struct {
	*meter
	priced *commonv1.TokenUsage
}

func (p *pricing) Price(w metering.Work) (int64, string, bool) {
	p.priced = w.Tokens
	return 7, "USD", true
}

// Each document that is ranked is asked for.
func TestDocumentsAreMetered(t *testing.T) {
	m := &meter{refuse: apierr.New(apierr.RateLimited, "no more")}
	s, ctx := metered(t, m, new(engine))
	if _, err := s.Rerank(ctx, &edgev1.RerankRequest{Model: "small", Query: "x", Documents: texts([]string{"a", "b", "c"})}); err == nil {
		t.Fatal("it is let through")
	}
	if d := m.asked[0]; d.Kind != metering.Rerank || d.Documents != 3 || d.PromptBytes != 6 {
		t.Errorf("asked %+v", d)
	}
}

func TestStreamsAreMeteredHoweverTheyEnd(t *testing.T) {
	gone := errors.New("the caller went away")
	for name, test := range map[string]struct{ engine, caller, want error }{
		"the engine fails":     {engine: io.ErrUnexpectedEOF, want: io.ErrUnexpectedEOF},
		"the caller goes away": {engine: io.EOF, caller: gone, want: gone},
	} {
		t.Run(name, func(t *testing.T) {
			m := new(meter)
			s, ctx := metered(t, m, &engine{fail: test.engine})
			if err := s.StreamChatCompletion(hello(), callerStream{ctx: ctx, gone: test.caller}); !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
			if len(m.used) != 1 || m.used[0].Tokens.GetCompletionTokens() != 1 || m.used[0].By.GetVersion() != 3 {
				t.Errorf("told %v", m.used)
			}
			if len(m.ends) != 1 || !errors.Is(m.ends[0], test.want) {
				t.Errorf("ended with %v", m.ends)
			}
		})
	}
}

func TestEmbeddingsAreMetered(t *testing.T) {
	m := new(meter)
	s, ctx := metered(t, m, new(engine))
	if _, err := s.CreateEmbedding(ctx, &edgev1.CreateEmbeddingRequest{Model: "small", Input: &edgev1.TextInput{Input: &edgev1.TextInput_Text{Text: "abc"}}}); err != nil {
		t.Fatal(err)
	}
	if d := m.asked[0]; d.Kind != metering.Embed || d.PromptBytes != 3 || d.MaxTokens != 0 {
		t.Errorf("asked %+v", d)
	}
	if len(m.used) != 1 || m.used[0].Tokens.GetPromptTokens() != 7 || len(m.ends) != 1 || m.ends[0] != nil {
		t.Errorf("told %v, ended with %v", m.used, m.ends)
	}
}

// A question of which no vector may be made is answered all the same: that the vector is
// refused is no refusal of the request.
func TestAQuestionsVectorIsOptional(t *testing.T) {
	m := &meter{refuse: io.ErrUnexpectedEOF}
	s, ctx := metered(t, m, new(engine))
	p := &plan{similar: &question{text: "how much"}}
	p.Rule.Semantic.Model = "vectors"
	if s.embedQuestion(ctx, p, nil) || len(m.asked) != 1 || !m.asked[0].Optional || !m.asked[0].Beside {
		t.Errorf("asked are %+v", m.asked)
	}
}
