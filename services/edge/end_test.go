package edge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/lifecycle"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// TestRequestsAreCutWithAnAnswer ends an edge that has a stream, a unary request
// and a call over gRPC in hand which never end by themselves. Each is told, each
// is in the trail, and the end is reported once.
func TestRequestsAreCutWithAnAnswer(t *testing.T) {
	trail := filepath.Join(t.TempDir(), "audit.jsonl")
	g := build(t, func(c *edge.Config) {
		onFreePorts(c)
		c.Security.Audit.Sink, c.Security.Audit.File = audit.SinkFile, trail
	})
	never, asked := make(chan struct{}), make(chan struct{}, 2)
	t.Cleanup(func() { close(never) })
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		if err := sendCounted(out, helloChunk, 7, 1); err != nil {
			return err
		}
		<-out.Context().Done()
		return out.Context().Err()
	}
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		asked <- struct{}{}
		<-never // not even when its caller is gone
		return nil, context.Canceled
	}
	end, ended, conn := g.runAll()

	lines := bufio.NewReader(g.post(t.Context(), streamed).Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "Hel") {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	unary := make(chan answer, 1)
	go func() { unary <- g.do(http.MethodPost, chatPath, strings.Replace(streamed, "true", "false", 1)) }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+g.key)
	rpc := make(chan error, 1)
	go func() {
		_, err := edgev1.NewOpenAIServiceClient(conn).CreateChatCompletion(ctx, &edgev1.CreateChatCompletionRequest{
			Model: "small", Messages: []*edgev1.ChatMessage{{
				Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "Hi"}},
			}},
		})
		rpc <- err
	}()
	<-asked
	<-asked

	end()
	rest, err := io.ReadAll(lines)
	events := strings.Split(strings.TrimSpace(string(rest)), "\n\n")
	if last := events[len(events)-1]; err != nil || !isEnding(strings.TrimPrefix(last, "data: ")) {
		t.Errorf("the stream ends with %q, %v", last, err)
	}
	if a := <-unary; a.status != http.StatusServiceUnavailable || !isEnding(a.text) || a.header.Get("Retry-After") == "" {
		t.Errorf("the unary request: %d %s", a.status, a.text)
	}
	if err := <-rpc; apierr.ReasonOf(err) != apierr.Unavailable || apierr.From(err).Message != "this gateway is ending" {
		t.Errorf("the call over gRPC: %v", err)
	}
	if err := <-ended; err == nil || !reported(err, "3 requests were cut after ") {
		t.Errorf("the edge ended with %v", err)
	}
	recorded := readTrail(t, trail)
	used := 0
	for _, r := range recorded {
		if r.PromptTokens == 7 && r.CompletionTokens == 1 {
			used++ // the stream's, as far as it had come
		}
		if r.Decision != audit.Allowed || r.Reason != string(apierr.Unavailable) || r.Subject == "" || r.Resource != "model/small" {
			t.Errorf("recorded as %+v", r)
		}
	}
	if used != 1 {
		t.Errorf("the tokens of the stream that was cut are recorded %d times: %+v", used, recorded)
	}
	if len(recorded) != 3 {
		t.Errorf("%d requests are recorded, want 3", len(recorded))
	}
}

// TestDeafClientDoesNotHoldTheEnd holds that a client that reads nothing is
// recorded too, and that the end does not wait for it.
func TestDeafClientDoesNotHoldTheEnd(t *testing.T) {
	trail := filepath.Join(t.TempDir(), "audit.jsonl")
	g := build(t, func(c *edge.Config) {
		onFreePorts(c)
		c.Security.Audit.Sink, c.Security.Audit.File = audit.SinkFile, trail
	})
	text := `{"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 32<<10) + `"}}]}`
	full := make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		err := sendServedBy(out)
		told := false
		for n := 0; err == nil; n += len(text) {
			if n > 16<<20 && !told {
				close(full) // a connection at work, which nobody reads from now on
				told = true
			}
			err = sendChunk(out, text)
		}
		return err
	}
	end, ended, _ := g.runAll()
	body := g.post(t.Context(), streamed).Body
	go func() { // reads until the engine is at work in earnest, and then no more
		buf := make([]byte, 64<<10)
		for {
			select {
			case <-full:
				return
			default:
			}
			if _, err := body.Read(buf); err != nil {
				return
			}
		}
	}()
	<-full
	end()
	if err := <-ended; err == nil || !reported(err, "1 request was cut after ") {
		t.Errorf("the edge ended with %v", err)
	}
	if got := readTrail(t, trail); len(got) != 1 || got[0].Reason != string(apierr.Unavailable) {
		t.Errorf("recorded: %+v", got)
	}
}

// runAll runs the edge with its ports, and returns how to end it, what it ended
// with, and a connection to the gRPC port.
func (g *gate) runAll() (end func(), ended <-chan error, conn *grpc.ClientConn) {
	g.t.Helper()
	ports, err := g.NewPorts()
	if err != nil {
		g.t.Fatal(err)
	}
	up := make(chan struct{})
	comps := append(g.Components(), ports.Components()...)
	comps = append(comps, lifecycle.Component{Name: "test", Start: func(context.Context) error { close(up); return nil }})
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	g.t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{DrainTimeout: 50 * time.Millisecond}, comps...) }()
	select {
	case <-up:
	case err := <-done:
		g.t.Fatal(err)
	}
	g.url = "http://" + ports.HTTP.Addr().String()
	conn, err = grpc.NewClient(ports.GRPC.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return cancel, done, conn
}

// reported reports whether err says this of the requests in hand, and nothing else.
func reported(err error, what string) bool {
	took, ok := strings.CutPrefix(err.Error(), "drain edge: requests: "+what)
	_, perr := time.ParseDuration(took)
	return ok && perr == nil
}

// isEnding reports whether text is OpenAI's error of a gateway that ends.
func isEnding(text string) bool {
	var body map[string]any
	return json.Unmarshal([]byte(text), &body) == nil &&
		at(body, "error", "message") == "this gateway is ending" && at(body, "error", "code") == "unavailable"
}

func readTrail(t *testing.T, path string) (out []audit.Record) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}
