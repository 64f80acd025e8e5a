package engine

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// scripted is an engine that answers every request with the given text and
// then, if it is to, breaks the connection.
func scripted(t *testing.T, status int, kind, text string, breaks bool) *client {
	t.Helper()
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
		_ = http.NewResponseController(w).Flush()
		if breaks {
			panic(http.ErrAbortHandler)
		}
	}))
	c := newClient(dialect{base: localURL(port) + "/v1", model: "m"})
	t.Cleanup(c.Close)
	return c
}

const (
	events    = "text/event-stream; charset=utf-8"
	jsonType  = "application/json"
	oneChunk  = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n"
	wholeBody = `{"messages":[]}`
)

func TestStreamFailures(t *testing.T) {
	tests := []struct {
		name   string
		status int
		kind   string
		text   string
		breaks bool
		want   apierr.Reason
		chunks int
	}{
		{"ends before anything", 200, events, "", false, apierr.Unavailable, 0},
		{"ends without [DONE]", 200, events, oneChunk, false, apierr.EngineFailed, 1},
		{"breaks before anything", 200, events, ": hello\n\n", true, apierr.Unavailable, 0},
		{"breaks in the middle", 200, events, oneChunk + "data: {\"cho", true, apierr.EngineFailed, 1},
		{"error as an event", 200, events, oneChunk + "event: error\ndata: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n", false, apierr.EngineFailed, 1},
		{"error as a chunk", 200, events, "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"x\"}}\n\ndata: [DONE]\n\n", false, apierr.Unavailable, 0},
		{"the caller's error as a chunk", 200, events, "data: {\"error\":{\"message\":\"bad grammar\",\"code\":400}}\n\n", false, apierr.InvalidArgument, 0},
		{"no JSON where it matters", 200, events, "data: {\"usage\" oops\n\n", false, apierr.Unavailable, 0},
		{"not a stream", 200, jsonType, "{}", false, apierr.EngineFailed, 0},
		{"failed", 500, jsonType, `{"error":{"message":"boom","code":500}}`, false, apierr.EngineFailed, 0},
		{"crashed", 500, "text/html", `oops`, false, apierr.Unavailable, 0},
		{"failed as a chunk", 200, events, "data: {\"error\":{\"message\":\"boom\",\"code\":500}}\n\n", false, apierr.EngineFailed, 0},
		{"wrong request as a chunk", 200, events, "data: {\"error\":{\"message\":\"Unknown reasoning format: z\",\"code\":500}}\n\n", false, apierr.InvalidArgument, 0},
		{"loading", 503, jsonType, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`, false, apierr.Unavailable, 0},
		{"endless line", 200, events, "data: " + strings.Repeat("x", maxEventBytes+100) + "\n\n", false, apierr.Unavailable, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			_, err := scripted(t, tt.status, tt.kind, tt.text, tt.breaks).Stream(t.Context(), Chat, []byte(wholeBody), &r)
			if apierr.ReasonOf(err) != tt.want || len(r.chunks) != tt.chunks {
				t.Errorf("got %v after %d chunks", err, len(r.chunks))
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	c := newClient(dialect{base: "http://127.0.0.1:1/v1", health: "http://127.0.0.1:1/health", model: "m"})
	if _, err := c.Stream(t.Context(), Chat, []byte(wholeBody), &recorder{}); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("stream: %v", err)
	}
	if _, err := c.Invoke(t.Context(), Chat, []byte(wholeBody)); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("invoke: %v", err)
	}
	if err := c.Health(t.Context()); err == nil {
		t.Error("health is good")
	}
}

// Connections are used again, also after streams: an engine at a distance would
// otherwise be dialled for every request.
func TestConnectionsAreKept(t *testing.T) {
	var opened atomic.Int64
	srv := httptest.NewUnstartedServer(newFakeLlama(512))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	c := newClient(dialect{base: srv.URL + "/v1", model: "m", idle: llamaIdle})
	defer c.Close()
	for range 20 {
		if _, err := c.Stream(t.Context(), Chat, []byte(askHello+"}"), &recorder{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Invoke(t.Context(), Chat, []byte(askHello+"}")); err != nil {
			t.Fatal(err)
		}
	}
	// One that is still being read to its end cannot be used at once.
	if n := opened.Load(); n > 10 {
		t.Errorf("%d connections for 40 requests, one after the other", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Bool
	target := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	port := serve(t, http.RedirectHandler(localURL(target), http.StatusTemporaryRedirect))
	c := newClient(dialect{base: localURL(port), model: "m", key: "sk-secret"})
	if _, err := c.Invoke(t.Context(), Chat, []byte(wholeBody)); err == nil || strings.Contains(err.Error(), "sk-secret") || reached.Load() {
		t.Errorf("got %v, reached %v", err, reached.Load())
	}
}

func TestStreamOptions(t *testing.T) {
	tests := []struct {
		body, want string
		running    runningUsage
		asked      asked
	}{
		{`{}`, `{"include_usage":true}`, tellsAtEnd, asked{}},
		{`{"stream_options":null}`, `{"include_usage":true}`, tellsTimings, asked{}},
		{`{"stream_options":{"include_usage":false,"a":1}}`, `{"include_usage":true,"a":1}`, tellsAtEnd, asked{}},
		{`{"stream_options":{"a":1,"include_usage":true}}`, `{"include_usage":true,"a":1}`, tellsAtEnd, asked{usage: true}},
		{`{"stream_options":{"a":1,"INCLUDE_USAGE":false}}`, `{"include_usage":true,"a":1}`, tellsAtEnd, asked{}},
		{`{"stream_options":{"a":1}}`, `{"include_usage":true,"continuous_usage_stats":true,"a":1}`, tellsUsage, asked{}},
		{
			`{"stream_options":{"continuous_usage_stats":true}}`, `{"include_usage":true,"continuous_usage_stats":true}`,
			tellsUsage,
			asked{}, // which vLLM ignores without include_usage
		},
		{
			`{"stream_options":{"continuous_usage_stats":true,"include_usage":true}}`,
			`{"include_usage":true,"continuous_usage_stats":true}`, tellsUsage,
			asked{usage: true, running: true},
		},
		{`{"timings_per_token":true}`, `{"include_usage":true}`, tellsTimings, asked{running: true}},
	}
	for _, tt := range tests {
		object, err := jsonbody.Read([]byte(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		got, want, err := streamOptions(&object, tt.running)
		if err != nil || string(got) != tt.want || want != tt.asked {
			t.Errorf("%s: got %s, %+v, %v", tt.body, got, want, err)
		}
	}
	var e *apierr.Error
	list, err := jsonbody.Read([]byte(`{"stream_options":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := streamOptions(&list, tellsUsage); !errors.As(err, &e) || e.Field != "stream_options" {
		t.Errorf("a list: %v", err)
	}
}
