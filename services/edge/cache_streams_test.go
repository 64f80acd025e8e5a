package edge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// data is the events of a stream, less ids and times.
func data(a answer) (events []string) {
	for line := range strings.SplitSeq(a.text, "\n") {
		if d, ok := strings.CutPrefix(line, "data: "); ok {
			from, to := strings.Index(d, `"id":"`), strings.Index(d, `"object"`)
			if from >= 0 && to > from {
				d = d[:from] + d[to:]
			}
			if i := strings.Index(d, `"created":`); i >= 0 {
				d = d[:i] + d[i+strings.Index(d[i:], ",")+1:]
			}
			events = append(events, d)
		}
	}
	return events
}

func TestStreamsAreGivenAgain(t *testing.T) {
	g := caching(t, nil)
	const usage = `,"stream":true,"stream_options":{"include_usage":true}`
	first := g.asks(exactly(usage), nil, 1, "miss")
	again := g.asks(exactly(usage), nil, 0, "hit")
	if a, b := data(first), data(again); len(a) < 4 || strings.Join(a, "\n") != strings.Join(b, "\n") || b[len(b)-1] != "[DONE]" {
		t.Errorf("first\n%s\nthen\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if without := data(g.asks(exactly(`,"stream":true`), nil, 0, "hit")); strings.Contains(strings.Join(without, ""), `"usage":{`) {
		t.Errorf("usage that was not asked for: %v", without)
	}
	// The whole answer is made of it.
	whole := g.asks(exactly(""), nil, 0, "hit")
	if whole.at("choices", 0, "message", "content") != "Hel\nlo" || whole.at("choices", 0, "finish_reason") != "stop" || whole.at("usage", "total_tokens") != 9.0 {
		t.Errorf("got %s", whole.text)
	}
	// And the other way round.
	g.asks(exactly(`,"user":"x"`), nil, 1, "miss")
	events := strings.Join(data(g.asks(exactly(`,"user":"x"`+usage), nil, 0, "hit")), "\n")
	if !strings.Contains(events, `"content":"Hello"`) || !strings.Contains(events, `"finish_reason":"stop"`) || !strings.Contains(events, `"total_tokens":9`) || !strings.HasSuffix(events, "[DONE]") {
		t.Errorf("got %s", events)
	}
	// Log probabilities have two forms, of which none is the other.
	g.asks(exactly(`,"logprobs":true`), nil, 1, "miss", "hit")
	g.asks(exactly(`,"logprobs":true`+usage), nil, 1, "miss", "hit")
}

func TestCompletionsAreGivenAgain(t *testing.T) {
	g := caching(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		_ = out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: version(3, "3")}})
		_ = sendChunk(out, `{"choices":[{"index":0,"text":" Pa","finish_reason":null}]}`)
		_ = sendChunk(out, `{"choices":[{"index":0,"text":"ris","finish_reason":"stop"}]}`)
		return sendFinish(out)
	}
	const body = `{"model":"small","prompt":"Capital:","temperature":0%s}`
	for i, c := range []struct{ more, want string }{{`,"stream":true`, "miss"}, {`,"stream":true`, "hit"}, {"", "hit"}} {
		a := g.do("POST", "/v1/completions", fmt.Sprintf(body, c.more))
		if a.header.Get(cacheHeader) != c.want || i == 2 && (a.at("choices", 0, "text") != " Paris" || a.at("usage", "completion_tokens") != 2.0) {
			t.Errorf("%d: %v %s", i, a.header, a.text)
		}
	}
}

// Many ask the same at once: an engine answers one, and goes on when the one who came
// first goes away.
func TestOneFlight(t *testing.T) {
	g := caching(t, nil)
	began, goOn := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		calls.Add(1)
		_ = out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: version(3, "3")}})
		if err := sendChunk(out, helloChunk); err != nil {
			return err
		}
		close(began)
		select {
		case <-goOn:
		case <-out.Context().Done():
			return out.Context().Err()
		}
		if err := sendChunk(out, lastChunk); err != nil {
			return err
		}
		return sendFinish(out)
	}
	ctx, leave := context.WithCancel(t.Context())
	leader := g.post(ctx, exactly(`,"stream":true`))
	<-began
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		wg.Go(func() {
			more := ""
			if i%2 == 0 {
				more = `,"stream":true`
			}
			answers[i] = g.do("POST", chatPath, exactly(more))
		})
	}
	<-time.After(200 * time.Millisecond) // they have joined; if not, they are answered all the same
	leave()
	_ = leader.Body.Close()
	<-time.After(50 * time.Millisecond)
	close(goOn)
	wg.Wait()
	for i, a := range answers {
		if a.status != 200 || a.header.Get(cacheHeader) != "hit" || !strings.Contains(a.text, `Hel\nlo`) {
			t.Errorf("%d: %d %v %s", i, a.status, a.header.Get(cacheHeader), a.text)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("the engine was asked %d times", calls.Load())
	}
}

// When nobody waits any more, the engine is told to stop.
func TestNobodyWaits(t *testing.T) {
	g := caching(t, nil)
	began, stopped := make(chan struct{}), make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		_ = out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: version(3, "3")}})
		_ = sendChunk(out, helloChunk)
		close(began)
		<-out.Context().Done()
		close(stopped)
		return out.Context().Err()
	}
	ctx, leave := context.WithCancel(t.Context())
	resp := g.post(ctx, exactly(`,"stream":true`))
	<-began
	leave()
	_ = resp.Body.Close()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Error("the engine goes on for nobody")
	}
	g.inference.stream = nil
	g.asks(exactly(`,"stream":true`), nil, 1, "miss")
}
