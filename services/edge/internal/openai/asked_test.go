package openai

import (
	"bytes"
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/testkit"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/chattext"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/plainchat"
)

// hearing is an engine that keeps what it is asked.
type hearing struct {
	engine
	body []byte
}

func (e *hearing) Invoke(ctx context.Context, req *inferencev1.InvokeRequest, opts ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	e.body = req.GetBody()
	return e.engine.Invoke(ctx, req, opts...)
}

func (e *hearing) InvokeStream(ctx context.Context, req *inferencev1.InvokeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error) {
	e.body = req.GetBody()
	return e.engine.InvokeStream(ctx, req, opts...)
}

// asker asks a server within the process, as the gateway does.
type asker struct {
	conn  edgev1.OpenAIServiceClient
	heard *hearing
	codec *jsoncodec.Codec
}

func newAsker(t *testing.T, rules detect.Config) *asker {
	t.Helper()
	a := &asker{heard: &hearing{engine: engine{fail: io.ErrUnexpectedEOF}}, codec: jsoncodec.New(jsoncodec.Options{})}
	s, _ := metered(t, new(meter), &a.heard.engine)
	s.Inference, s.Inspector = a.heard, inspect.New(detect.NewRules(rules, detect.All()), uncounted{})
	a.conn = edgev1.NewOpenAIServiceClient(inproc.New(grpcserver.Chain{}, func(r grpc.ServiceRegistrar) {
		edgev1.RegisterOpenAIServiceServer(r, s)
	}))
	return a
}

// ask returns what the engine is asked for a request that came as text: as the request is
// written, and where it is told beside it what the text is; nil: it is not asked.
func (a *asker) ask(ctx context.Context, text []byte) (written, told []byte, alike bool) {
	for i, out := range []*[]byte{&written, &told} {
		req := new(edgev1.CreateChatCompletionRequest)
		var ok bool
		if alike, ok = plainchat.Read(text, req); !ok {
			var err error
			if alike, err = a.codec.UnmarshalAlike(text, req); err != nil {
				return nil, nil, false
			}
		}
		call := ctx
		if i == 1 && alike {
			call, _ = chattext.With(ctx, text)
		}
		a.heard.body = nil
		if req.GetStream() {
			if answers, err := a.conn.StreamChatCompletion(call, req); err == nil {
				for err == nil {
					_, err = answers.Recv()
				}
			}
		} else {
			_, _ = a.conn.CreateChatCompletion(call, req)
		}
		*out = a.heard.body
	}
	return written, told, alike
}

// What of a text is left out and what is kept, in its place.
func TestTheEngineIsAskedAsTheCallerDid(t *testing.T) {
	a := newAsker(t, detect.Config{})
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	for text, want := range map[string]string{
		`{"temperature":0.2,` + hi + `,"model":"m"}`:                                                    `{"temperature":0.2,` + hi + `,"model":"m"}`,
		`{"stream":false,"model":"m",` + hi + `,"x":{"stream":[1]}}`:                                    `{"model":"m",` + hi + `,"x":{"stream":[1]}}`,
		`{"model":"m","stream":true,"stream_options":{"include_usage":true},` + hi + `,"cache":"off"}`:  `{"model":"m",` + hi + `}`,
		`{"model":"m",` + hi + `,"stream_options":{"include_usage":true,"x":1},"stream":true}`:          `{"model":"m",` + hi + `,"stream_options":{"x":1}}`,
		`{` + hi + `,"model":"m","max_tokens":1.0}`:                                                     `{"model":"m",` + hi + `,"max_tokens":1}`,
		`{` + hi + `,"model":"m","memory":{"conversation":""}}`:                                         "",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}],"name":"me"}]}`: `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}],"name":"me"}]}`,
	} {
		if _, told, _ := a.ask(t.Context(), []byte(text)); want != "" && string(told) != want {
			t.Errorf("%s became\n%s, want\n%s", text, told, want)
		}
	}
}

// What a detector takes out the engine does not get with the text.
func TestTextsThatWereLookedAtAreWritten(t *testing.T) {
	a := newAsker(t, detect.Config{Rules: []detect.Rule{{Kinds: []string{"pii/email"}, Action: detect.Redact}}})
	written, told, alike := a.ask(t.Context(), []byte(`{"model":"m","messages":[{"role":"user","content":"I am ada@example.com"}]}`))
	if !alike || bytes.Contains(told, []byte("ada@")) || !bytes.Equal(written, told) || len(told) == 0 {
		t.Errorf("alike %v: %s", alike, told)
	}
}

// Whatever may change a conversation has it written.
func TestChangedConversationsAreWritten(t *testing.T) {
	ctx := t.Context()
	obliged := func(set obligation.Set) context.Context {
		ctx := obligation.NewContext(ctx)
		if !obligation.Note(ctx, set) {
			t.Fatal("the obligation was not noted")
		}
		return ctx
	}
	plain := new(edgev1.CreateChatCompletionRequest)
	for name, test := range map[string]struct {
		ctx  context.Context
		req  *edgev1.CreateChatCompletionRequest
		want bool
	}{
		"nothing":           {ctx, plain, true},
		"no obligation":     {obliged(obligation.Set{}), plain, true},
		"a bound":           {obliged(obligation.Set{MaxTokens: 1}), plain, false},
		"another model":     {obliged(obligation.Set{Model: "m"}), plain, false},
		"what is taken out": {obliged(obligation.Set{Redact: true}), plain, false},
		"a route":           {context.WithValue(ctx, routedKey{}, new(routed)), plain, false},
		"passages":          {ctx, &edgev1.CreateChatCompletionRequest{Retrieval: new(edgev1.Retrieval)}, false},
		"a prompt":          {ctx, &edgev1.CreateChatCompletionRequest{Prompt: new(edgev1.ChatPrompt)}, false},
		"a conversation":    {ctx, &edgev1.CreateChatCompletionRequest{Memory: new(edgev1.Memory)}, false},
		"an option":         {ctx, &edgev1.CreateChatCompletionRequest{StreamOptions: &edgev1.StreamOptions{Extra: map[string]string{"x": "1"}}}, false},
	} {
		if got := unchanged(test.ctx, test.req); got != test.want {
			t.Errorf("%s: unchanged is %v", name, got)
		}
	}
}

// A text is told of once: an answer may last.
func TestTextsAreNotKept(t *testing.T) {
	a := newAsker(t, detect.Config{})
	text := []byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
	req := new(edgev1.CreateChatCompletionRequest)
	if _, ok := plainchat.Read(text, req); !ok {
		t.Fatal("not read")
	}
	ctx, kept := chattext.With(t.Context(), text)
	if _, err := a.conn.CreateChatCompletion(ctx, req); err != nil {
		t.Fatal(err)
	}
	if kept.Take() != nil || !bytes.Equal(a.heard.body, text) {
		t.Errorf("the engine got %s", a.heard.body)
	}
}

// FuzzAsked holds that what the engine is asked is the same however it comes to be: the
// same members with the same values in the same spelling, in whatever order, and so as
// many bytes, by which it is metered.
func FuzzAsked(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`,
		`{"x":[{"stream":1}],"stream":false,"model":"m","messages":[{"role":"user","content":"a\n"}],"cache":{"a":[]},"temperature":0.1}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}],"tools":[{"type":"function","function":{"name":"f"}}],"stop":["a"]}`,
		`{"stream":true,"cache":null,"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":""}}]}]}`,
		`{"model":"m","mod\u0065l":"n","messages":[{"role":"user","content":"a","content":"b"}]}`,
		`{"stre\u0061m":true,"model":"m","messages":[{"role":"user","content":"\ud800"}],"seed":12345678901234567890}`,
		`{"cache":1,"stream":true,"stream_options":{},"model":"m","messages":[{"role":"user","content":"a","x":{"y":[[[1.50]]]}}],"response_format":{"type":"text"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a := newAsker(t, detect.Config{})
		written, told, alike := a.ask(t.Context(), text)
		switch {
		case (written == nil) != (told == nil):
			t.Fatalf("%q: %q and %q", text, written, told)
		case !alike && !bytes.Equal(written, told):
			t.Fatalf("%q is not alike, and became %q and %q", text, written, told)
		case told != nil && (len(written) != len(told) || testkit.InOrder(t, written) != testkit.InOrder(t, told)):
			t.Fatalf("%q became\n%q, and beside its text\n%q", text, written, told)
		}
	})
}
