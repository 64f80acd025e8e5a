package edge_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// An answer that is made to be kept may be settled before its caller has read it: the
// stream tells what it cost once all the same.
func TestAStreamTellsItsCostOnce(t *testing.T) {
	g := caching(t, nil)
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	told := regexp.MustCompile(`"poterne_cost":"([0-9.]+) USD"`)
	for i := range 20 {
		a := g.do("POST", chatPath, fmt.Sprintf(exact, fmt.Sprintf(`,"stream":true,"stream_options":{"include_usage":true},"seed":%d`, i)))
		record, _ := g.explained(a.header.Get("X-Request-Id"))
		micros, _ := record.at("cost_micros").(float64)
		if m := told.FindStringSubmatch(a.text); m == nil || micros == 0 || m[1] != fmt.Sprintf("%.6f", micros/1e6) {
			t.Fatalf("stream %d told %q, and cost %v millionths", i, m, micros)
		}
	}
}

// Workers tell an answer's tokens with its end and not in a chunk: the gateway tells them
// its caller, and what they cost, which by then is settled, once.
func TestAStreamWhoseEndTellsItsTokensTellsItsCostOnce(t *testing.T) {
	g := open(t, nil)
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	g.route("big", `{"match":{"models":["big"]},"model":"small"}`)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		err := out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: g.inference.served()}})
		return errors.Join(err, sendChunk(out, firstChunk), sendChunk(out, helloChunk), sendChunk(out, lastChunk), sendFinish(out))
	}
	for path, body := range map[string]string{
		chatPath:          `{"model":"small","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}`,
		chatPath + "?big": `{"model":"big","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}`,
		"/v1/completions": `{"model":"small","prompt":"Hi","stream":true,"stream_options":{"include_usage":true}}`,
	} {
		a := g.do("POST", strings.TrimSuffix(path, "?big"), body)
		record, _ := g.explained(a.header.Get("X-Request-Id"))
		if micros, _ := record.at("cost_micros").(float64); micros != 11 || strings.Count(a.text, `"poterne_cost":"0.000011 USD"`) != 1 {
			t.Errorf("%s told %s, and cost %v millionths", path, a.text, micros)
		}
	}
}

// What several models' work came to for one request is told once, all of it: in the
// header of an answer, and over gRPC in the trailer of a stream.
func TestACostIsToldOnce(t *testing.T) {
	g := open(t, onFreePorts)
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	g.route("big", `{"match":{"models":["big"]},"fallback":{"models":["small"]}}`)
	g.failing(apierr.New(apierr.Unavailable, "no worker is ready to serve it; try again"), "small")
	for _, model := range []string{"small", "big"} {
		a := g.askModel(model, "")
		if got := a.header.Values("X-Poterne-Cost"); len(got) != 1 || got[0] != "0.000011 USD" {
			t.Errorf("%s: the header is %q: %s", model, got, a.text)
		}
	}
	if a := g.do("GET", "/v1/models", ""); len(a.header.Values("X-Poterne-Cost")) != 0 {
		t.Errorf("what costs nothing is told of: %v", a.header)
	}
	_, conn := g.serve()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+g.key)
	ask := &edgev1.CreateChatCompletionRequest{Model: "big", Messages: []*edgev1.ChatMessage{{
		Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "Hi"}},
	}}}
	var header metadata.MD
	if _, err := edgev1.NewOpenAIServiceClient(conn).CreateChatCompletion(ctx, ask, grpc.Header(&header)); err != nil || strings.Join(header.Get("x-poterne-cost"), "|") != "0.000011 USD" {
		t.Errorf("%v, %v", header, err)
	}
	stream, err := edgev1.NewOpenAIServiceClient(conn).StreamChatCompletion(ctx, ask)
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) || strings.Join(stream.Trailer().Get("x-poterne-cost"), "|") != "0.000011 USD" {
		t.Errorf("the trailer is %v, %v", stream.Trailer(), err)
	}
	if header, err := stream.Header(); err != nil || len(header.Get("x-poterne-cost")) != 0 {
		t.Errorf("the header is %v, %v", header, err)
	}
}

// What an engine says that its answer costs, as another gateway does, is not passed on as if
// it were what it costs here.
func TestAnEnginesOwnCostIsNotTold(t *testing.T) {
	g := open(t, nil)
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"poterne_cost":"9.99 USD","x":1}}`)}, nil
	}
	a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`)
	if strings.Contains(a.text, "poterne_cost") || a.at("usage", "x") != 1.0 || a.at("usage", "total_tokens") != 9.0 {
		t.Errorf("the answer is %s", a.text)
	}
}
