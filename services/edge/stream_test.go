package edge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const streamed = `{"model":"small","messages":[{"role":"user","content":"Hi"}],"stream":true}`

func (g *gate) post(ctx context.Context, body string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+chatPath, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestStreamFlushesEveryChunk holds that a chunk arrives before the engine has
// the next one.
func TestStreamFlushesEveryChunk(t *testing.T) {
	g := open(t, nil)
	next := make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		for range 3 {
			if err := sendChunk(out, helloChunk); err != nil {
				return err
			}
			<-next
		}
		return sendFinish(out)
	}
	lines := bufio.NewReader(g.post(t.Context(), streamed).Body)
	for range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, "Hel") {
			t.Fatalf("got %q, %v", line, err)
		}
		if _, err := lines.ReadString('\n'); err != nil { // the empty line
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "data: [DONE]\n\n" {
		t.Errorf("the end is %q, %v", rest, err)
	}
}

func TestStreamKeepAlive(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.KeepAlive = time.Millisecond })
	heard := make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		_ = errors.Join(sendServedBy(out), sendChunk(out, firstChunk))
		<-heard
		return sendFinish(out)
	}
	lines := bufio.NewReader(g.post(t.Context(), streamed).Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("no comment came: %v", err)
		}
		if line == ": keep-alive\n" {
			break
		}
	}
	close(heard)
	if rest, err := io.ReadAll(lines); err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("the end is %q, %v", rest, err)
	}
}

// TestStreamDropsDeadReader holds that a client that stops reading neither
// fills our memory nor holds the engine for ever.
func TestStreamDropsDeadReader(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.WriteTimeout = 100 * time.Millisecond })
	stopped := make(chan struct{})
	var sent atomic.Int64
	text := `{"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 32<<10) + `"}}]}`
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		defer close(stopped)
		if err := sendServedBy(out); err != nil {
			return err
		}
		for {
			if err := sendChunk(out, text); err != nil {
				return err
			}
			if sent.Add(int64(len(text))) > 1<<30 {
				return errors.New("nobody stops the engine")
			}
		}
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req := "POST " + chatPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + g.key +
		"\r\nContent-Length: " + strconv.Itoa(len(streamed)) + "\r\n\r\n" + streamed
	if _, err := io.WriteString(conn, req); err != nil {
		t.Fatal(err)
	}
	<-stopped
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d MiB were taken for a client that reads nothing", n>>20)
	}
}

// Chunks that come together are events of their own.
func TestChunksThatComeTogetherAreAllWritten(t *testing.T) {
	g := open(t, nil)
	asked := make(chan bool, 1)
	g.inference.stream = func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		asked <- req.GetBatchChunks()
		if err := sendServedBy(out); err != nil {
			return err
		}
		chunk := func(text string) []byte {
			return fmt.Appendf(nil, `{"choices":[{"index":0,"delta":{"content":%q}}]}`, text)
		}
		if err := out.Send(&inferencev1.InvokeStreamResponse{
			Event:      &inferencev1.InvokeStreamResponse_Chunk{Chunk: chunk("one")},
			MoreChunks: [][]byte{chunk("two"), chunk("three")}, Usage: usage(),
		}); err != nil {
			return err
		}
		return out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_Finish{Finish: &inferencev1.Finish{Usage: usage()}}})
	}
	a := g.do(http.MethodPost, chatPath, streamed)
	if !<-asked {
		t.Error("the edge does not ask for chunks that travel together")
	}
	rest := a.text
	for _, want := range []string{"data: ", `"one"`, "\n\ndata: ", `"two"`, "\n\ndata: ", `"three"`, "\n\ndata: [DONE]\n\n"} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is not where it belongs in %s", want, a.text)
		}
		rest = after
	}
}

// flushes is an answer that is flushed, of which it keeps what had been written by then.
type flushes struct {
	*httptest.ResponseRecorder
	at []string
}

func (f *flushes) Flush() { f.at = append(f.at, f.Body.String()) }

// What comes together leaves together, and the last event with the end of the answer.
func TestTheEndOfAStreamLeavesAtOnce(t *testing.T) {
	g := open(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		return errors.Join(sendServedBy(out),
			sendChunk(out, `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`),
			sendFinish(out))
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(streamed))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+g.key)
	w := &flushes{ResponseRecorder: httptest.NewRecorder()}
	g.Handler().ServeHTTP(w, r)
	if len(w.at) != 1 || !strings.Contains(w.at[0], `"a"`) || strings.Contains(w.at[0], "[DONE]") {
		t.Errorf("flushed %d times: %q", len(w.at), w.at)
	}
	if !strings.HasSuffix(w.Body.String(), "\n\ndata: [DONE]\n\n") {
		t.Errorf("answered %q", w.Body)
	}
}

// TestStreamsChoicesBeginWithTheirRole holds that clients learn whose each answer is,
// also of an engine that leaves it out: llama-server does where the first token is half of
// a character.
func TestStreamsChoicesBeginWithTheirRole(t *testing.T) {
	g := open(t, nil)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		return errors.Join(sendServedBy(out),
			sendChunk(out, `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`),
			sendChunk(out, `{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}`),
			sendChunk(out, `{"choices":[{"index":1,"delta":{"content":"c"}},{"index":0,"delta":{},"finish_reason":"stop"}]}`),
			sendChunk(out, `{"choices":[{"index":2,"finish_reason":"stop"}]}`),
			sendChunk(out, `{"choices":[{"index":1,"delta":{"content":"d"},"finish_reason":"stop"}]}`),
			sendFinish(out))
	}
	type choice struct {
		Index int
		Delta struct{ Role, Content string }
	}
	var got []string
	lines := bufio.NewScanner(g.post(t.Context(), strings.Replace(streamed, "{", `{"n":3,`, 1)).Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: {")
		if !ok {
			continue
		}
		var chunk struct{ Choices []choice }
		if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, c := range chunk.Choices {
			got = append(got, fmt.Sprintf("%d:%s:%s", c.Index, c.Delta.Role, c.Delta.Content))
		}
	}
	want := []string{"0:assistant:a", "0::b", "1:assistant:c", "0::", "2:assistant:", "1::d"}
	if !slices.Equal(got, want) {
		t.Errorf("the choices are %q; want %q", got, want)
	}
}
