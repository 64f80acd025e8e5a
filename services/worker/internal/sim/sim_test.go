package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

type rig struct {
	*testing.T
	url  string
	exit chan int
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Model, cfg.ContextTokens, cfg.Dimensions = "m@v1", 1000, 32
	if change != nil {
		change(&cfg)
	}
	r := &rig{T: t, exit: make(chan int, 100)}
	s, err := New(cfg, clock.Real(), slog.New(slog.DiscardHandler), func(code int) {
		r.exit <- code
		panic(http.ErrAbortHandler)
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *rig) do(method, path, body string, header ...string) *http.Response {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (r *rig) post(path, body string, header ...string) (int, string) {
	r.Helper()
	resp := r.do(http.MethodPost, path, body, header...)
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	if !json.Valid(data) {
		r.Errorf("%s answers with what is no JSON: %s", path, data)
	}
	return resp.StatusCode, string(data)
}

func (r *rig) get(path string) string {
	r.Helper()
	data, err := io.ReadAll(r.do(http.MethodGet, path, "").Body)
	if err != nil {
		r.Fatal(err)
	}
	return string(data)
}

type chatAnswer struct {
	Model   string `json:"model"`
	Choices []struct {
		Message struct {
			Content   string            `json:"content"`
			Reasoning string            `json:"reasoning_content"`
			ToolCalls []json.RawMessage `json:"tool_calls"`
		} `json:"message"`
		Logprobs json.RawMessage `json:"logprobs"`
		Finish   string          `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		Prompt  int `json:"prompt_tokens"`
		Answer  int `json:"completion_tokens"`
		Details struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Received map[string]any `json:"sim_received"`
}

func (r *rig) chat(more string) chatAnswer {
	r.Helper()
	status, body := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"hello there"}]`+more+"}")
	var a chatAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != http.StatusOK {
		r.Fatalf("%d %s: %v", status, body, err)
	}
	return a
}

func TestChat(t *testing.T) {
	r := newRig(t, nil)
	a := r.chat(`,"max_tokens":6`)
	text := a.Choices[0].Message.Content
	if !strings.HasPrefix(text, "[sim] ") || len(strings.Fields(text)) != 6 || a.Choices[0].Finish != "length" || a.Model != "sim/m@v1" {
		t.Errorf("got %+v", a)
	}
	// "hello there" has 11 bytes: three tokens, and four for the message.
	if a.Usage.Prompt != 7 || a.Usage.Answer != 6 {
		t.Errorf("usage %+v", a.Usage)
	}
	if again := r.chat(`,"max_tokens":6`); again.Choices[0].Message.Content != text {
		t.Errorf("the same prompt gave %q and %q", text, again.Choices[0].Message.Content)
	}
	if other := r.chat(`,"max_tokens":6,"seed":1`); other.Choices[0].Message.Content == text {
		t.Error("another seed gave the same answer")
	}
	if whole := r.chat(""); whole.Usage.Answer != 32 || whole.Choices[0].Finish != "stop" {
		t.Errorf("an answer nobody limits: %+v", whole)
	}
	if long := r.chat(`,"max_tokens":100,"ignore_eos":true`); long.Usage.Answer != 100 || long.Choices[0].Finish != "length" {
		t.Errorf("an answer without a natural end: %+v", long.Usage)
	}
	many := r.chat(`,"n":3,"max_tokens":8,"logprobs":true`)
	if len(many.Choices) != 3 || many.Choices[0].Message.Content == many.Choices[1].Message.Content || many.Usage.Answer != 24 ||
		!strings.Contains(string(many.Choices[2].Logprobs), `"token":"[sim]"`) {
		t.Errorf("three choices: %+v", many)
	}
}

func TestChatExtras(t *testing.T) {
	r := newRig(t, nil)
	a := r.chat(`,"x_unknown":{"a":1.0},"sim":{"echo":true,"reasoning":true}`)
	if a.Received["x_unknown"] == nil || a.Received["messages"] == nil || a.Choices[0].Message.Reasoning == "" {
		t.Errorf("got %+v", a)
	}
	if plain := r.chat(`,"x_unknown":1`); plain.Received != nil {
		t.Error("an echo nobody asked for")
	}
	if _, body := r.post("/v1/completions", `{"prompt":"x","x":1}`, "X-Sim-Echo", "1"); !strings.Contains(body, `"sim_received":{"prompt":"x","x":1}`) {
		t.Errorf("by header: %s", body)
	}
	tools := `,"tools":[{"type":"function","function":{"name":"weather"}}]`
	called := r.chat(tools + `,"tool_choice":"required"`)
	if c := called.Choices[0]; len(c.Message.ToolCalls) != 1 || c.Finish != "tool_calls" || !strings.Contains(string(c.Message.ToolCalls[0]), "weather") {
		t.Errorf("a tool: %+v", called)
	}
	if free := r.chat(tools); len(free.Choices[0].Message.ToolCalls) != 0 {
		t.Error("a tool was called that need not be")
	}
}

func TestStop(t *testing.T) {
	r := newRig(t, nil)
	words := strings.Fields(r.chat("").Choices[0].Message.Content)
	stop := words[3] + " " + words[4] // across two tokens
	quoted, err := json.Marshal(stop)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(words[:3], " ") + " "
	for _, form := range []string{string(quoted), "[\"nothing like it\"," + string(quoted) + "]"} {
		a := r.chat(`,"stop":` + form)
		if a.Choices[0].Message.Content != want || a.Choices[0].Finish != "stop" || a.Usage.Answer != 5 {
			t.Errorf("stop %s: got %+v, want %q", form, a, want)
		}
		if text, _ := r.stream(`,"stop":` + form); text != want {
			t.Errorf("streamed, stop %s: got %q, want %q", form, text, want)
		}
	}
	last := words[len(words)-1]
	if a := r.chat(`,"stop":"` + last + ` never"`); !strings.HasSuffix(a.Choices[0].Message.Content, last) {
		t.Errorf("what was held back is lost: %q", a.Choices[0].Message.Content)
	}
}

// stream returns the streamed text and the chunks.
func (r *rig) stream(more string) (string, []string) {
	r.Helper()
	resp := r.do(http.MethodPost, "/v1/chat/completions", `{"stream":true,"messages":[{"role":"user","content":"hello there"}]`+more+"}")
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") || resp.Header.Get("Server") != "poterne-sim" {
		r.Fatalf("header %v", resp.Header)
	}
	var text strings.Builder
	var chunks []string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			r.Fatalf("%s: %v", data, err)
		}
		for _, c := range chunk.Choices {
			text.WriteString(c.Delta.Content)
		}
		chunks = append(chunks, data)
	}
	return text.String(), chunks
}

func TestStream(t *testing.T) {
	r := newRig(t, nil)
	text, chunks := r.stream(`,"max_tokens":5,"stream_options":{"include_usage":true},"x":1,"sim":{"echo":true}`)
	if text != r.chat(`,"max_tokens":5`).Choices[0].Message.Content {
		t.Errorf("streamed %q", text)
	}
	last := chunks[len(chunks)-1]
	if len(chunks) != 7 || !strings.Contains(chunks[0], `"role":"assistant"`) || !strings.Contains(chunks[0], `"sim_received":{`) ||
		!strings.Contains(last, `"choices":[]`) || !strings.Contains(last, `"completion_tokens":5`) {
		t.Errorf("chunks %q", chunks)
	}
	if _, chunks := r.stream(`,"max_tokens":5`); len(chunks) != 6 || strings.Contains(strings.Join(chunks, ""), "usage") {
		t.Errorf("usage nobody asked for: %q", chunks)
	}
	if _, chunks := r.stream(`,"n":2,"max_tokens":3`); len(chunks) != 8 {
		t.Errorf("two choices: %q", chunks)
	}
}

func TestErrors(t *testing.T) {
	r := newRig(t, nil)
	tests := []struct {
		path, body string
		status     int
		want       string
	}{
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("x", 5000) + `"}],"max_tokens":3}`, 400, "This model's maximum context length is 1000 tokens. However, you requested 1257 tokens (1254 in the messages, 3 in the completion)."},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"max_tokens":1000}`, 400, "maximum context length"},
		{"/v1/chat/completions", `{"model":"gpt-4","messages":[{"role":"user","content":"x"}]}`, 404, "The model `gpt-4` does not exist."},
		{"/v1/chat/completions", `{}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"content":"x"}]}`, 400, "messages[0]: role"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":7}]}`, 400, "content"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"temperature":9}`, 400, "temperature"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"n":0}`, 400, "n must be"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"max_tokens":0}`, 400, "max_tokens"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"stop":7}`, 400, "stop"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"stream_options":{}}`, 400, "Stream options"},
		{"/v1/chat/completions", `{"messages":`, 400, "cannot be read"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"sim":{"status":503}}`, 503, "simulated failure"},
		{"/v1/completions", `{}`, 400, "prompt"},
		{"/v1/embeddings", `{"input":[]}`, 400, "input"},
		{"/v1/embeddings", `{"input":{"a":1}}`, 400, "input"},
		{"/v1/embeddings", `{"input":"x","dimensions":99999}`, 400, "dimensions"},
		{"/v1/embeddings", `{"input":"` + strings.Repeat("x", 5000) + `"}`, 400, "maximum context length"},
		{"/sim/faults", `{"error_rate":7}`, 400, "error_rate"},
		{"/sim/faults", `{"typo":7}`, 400, "typo"},
	}
	for _, tt := range tests {
		status, body := r.post(tt.path, tt.body)
		var e struct {
			Error struct {
				Message string `json:"message"`
				Code    int    `json:"code"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Error.Code != status || !strings.Contains(e.Error.Message, tt.want) {
			t.Errorf("%.60s: %d %s", tt.body, status, body)
		}
	}
}

func TestPrefixCache(t *testing.T) {
	r := newRig(t, nil)
	system := strings.Repeat("You are a gate. ", 20) // 80 tokens
	ask := func(q string) chatAnswer {
		_, body := r.post("/v1/chat/completions", `{"messages":[{"role":"system","content":"`+system+`"},{"role":"user","content":"`+q+`"}],"max_tokens":2}`)
		var a chatAnswer
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if n := ask("one").Usage.Details.Cached; n != 0 {
		t.Errorf("a new prompt had %d tokens in the cache", n)
	}
	if n := ask("two").Usage.Details.Cached; n < 64 || n > 80 {
		t.Errorf("a shared beginning had %d tokens in the cache", n)
	}
	metrics := r.get("/metrics")
	for _, name := range []string{metricHits, metricQueries, metricPrompt, metricGeneration, metricRunning, metricWaiting, metricMemory, metricAborted} {
		if !strings.Contains(metrics, "\n"+name+`{model_name="sim/m@v1",engine="0"} `) {
			t.Errorf("no %s in %s", name, metrics)
		}
	}
}

func TestPrefixCacheForgets(t *testing.T) {
	c := newPrefixCache(10 * blockTokens)
	long := strings.Repeat("abcdefgh", 64) // eight blocks
	if c.visit(long, 1000) != 0 || c.visit(long, 1000) != 128 {
		t.Fatal("what was seen is not there")
	}
	c.visit(strings.Repeat("12345678", 64), 1000)
	if n := c.visit(long, 1000); n > 32 {
		t.Errorf("%d tokens are there that there is no room for", n)
	}
	if len(c.seen) > 10 {
		t.Errorf("%d blocks of 10", len(c.seen))
	}
}

// Requests wait for slots and for memory, first come first served, and those
// whose client leaves make room.
func TestScheduler(t *testing.T) {
	s := newScheduler(2, 100, 2)
	ctx := t.Context()
	for range 2 {
		if err := s.acquire(ctx, 30); err != nil {
			t.Fatal(err)
		}
	}
	gone, leave := context.WithCancel(ctx)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.acquire(gone, 90) }()
	waitFor(t, s, 1)
	go func() { second <- s.acquire(ctx, 40) }()
	waitFor(t, s, 2)
	if err := s.acquire(ctx, 1); err == nil {
		t.Error("more wait than may")
	}
	s.release(30)
	if _, waiting, _ := s.usage(); waiting != 2 {
		t.Error("a small request overtook a large one")
	}
	leave()
	if err := <-first; err == nil {
		t.Error("a request whose client has gone was given a slot")
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
	if running, waiting, memory := s.usage(); running != 2 || waiting != 0 || math.Abs(memory-0.7) > 1e-9 {
		t.Errorf("running %d, waiting %d, memory %v", running, waiting, memory)
	}
	s.release(30)
	s.release(40)
	if err := s.acquire(ctx, 1_000_000); err != nil {
		t.Error("a request larger than everything does not even run alone")
	}
}

func waitFor(t *testing.T, s *scheduler, waiting int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, n, _ := s.usage(); n == waiting {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t, nil)
	set := func(f string) {
		if status, body := r.post("/sim/faults", f); status != http.StatusOK {
			t.Fatalf("%s: %s", f, body)
		}
	}
	const ask = `{"messages":[{"role":"user","content":"x"}]}`
	set(`{"error_rate":1,"error_status":502}`)
	if status, _ := r.post("/v1/chat/completions", ask); status != 502 {
		t.Errorf("an error for every request: %d", status)
	}
	set(`{"error_rate":0.5}`)
	failed := 0
	for range 200 {
		if status, _ := r.post("/v1/chat/completions", ask); status == 500 {
			failed++
		}
	}
	if failed < 70 || failed > 130 {
		t.Errorf("half of 200 is not %d", failed)
	}
	set(`{"disconnect_after":3}`)
	resp := r.do(http.MethodPost, "/v1/chat/completions", `{"stream":true,"messages":[{"role":"user","content":"x"}]}`)
	data, err := io.ReadAll(resp.Body)
	if err == nil || strings.Count(string(data), "data: ") != 3 {
		t.Errorf("a cut stream: %v, %s", err, data)
	}
	set(`{"crash_after":2}`)
	if status, _ := r.post("/v1/chat/completions", ask); status != 200 {
		t.Errorf("before the crash: %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("it answers after the crash")
	}
	if code := <-r.exit; code != crashCode {
		t.Errorf("exit code %d", code)
	}
	set(`{}`)
	if got := r.get("/sim/faults"); got != "{}" {
		t.Errorf("faults in force: %s", got)
	}
}

func TestAbandonedRequestsAreCounted(t *testing.T) {
	r := newRig(t, nil)
	for _, more := range []string{`"sim":{"hang":true}`, `"stream":true,"sim":{"hang":true}`} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/chat/completions",
			strings.NewReader(`{"messages":[{"role":"user","content":"x"}],`+more+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("it does not hang")
		}
		cancel()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var s State
		if err := json.Unmarshal([]byte(r.get("/sim/state")), &s); err != nil {
			t.Fatal(err)
		}
		if s.Aborted == 2 {
			return
		}
	}
}

func TestEmbeddings(t *testing.T) {
	r := newRig(t, nil)
	get := func(body string) [][]float32 {
		status, text := r.post("/v1/embeddings", body)
		var out struct {
			Data []struct {
				Embedding json.RawMessage `json:"embedding"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		var vectors [][]float32
		for _, d := range out.Data {
			var packed []byte
			var v []float32
			if json.Unmarshal(d.Embedding, &packed) == nil { // encoding/json reads base64
				for i := 0; i < len(packed); i += 4 {
					bits := uint32(packed[i]) | uint32(packed[i+1])<<8 | uint32(packed[i+2])<<16 | uint32(packed[i+3])<<24
					v = append(v, math.Float32frombits(bits))
				}
			} else if err := json.Unmarshal(d.Embedding, &v); err != nil {
				t.Fatal(err)
			}
			vectors = append(vectors, v)
		}
		return vectors
	}
	v := get(`{"input":["the Gate in the wall","a gate in the WALL!","bread and honey"]}`)
	if len(v) != 3 || len(v[0]) != 32 || math.Abs(dot(v[0], v[0])-1) > 1e-5 {
		t.Fatalf("got %v", v)
	}
	if dot(v[0], v[1]) < dot(v[0], v[2])+0.3 {
		t.Errorf("shared words %v, none %v", dot(v[0], v[1]), dot(v[0], v[2]))
	}
	packed := get(`{"input":"the Gate in the wall","encoding_format":"base64"}`)
	if fmt.Sprint(packed[0]) != fmt.Sprint(v[0]) {
		t.Error("base64 holds other numbers")
	}
	if n := len(get(`{"input":"x","dimensions":7}`)[0]); n != 7 {
		t.Errorf("%d dimensions", n)
	}
	ids := get(`{"input":[[1,2],[1,2],[3]]}`)
	if len(ids) != 3 || fmt.Sprint(ids[0]) != fmt.Sprint(ids[1]) || fmt.Sprint(ids[0]) == fmt.Sprint(ids[2]) {
		t.Error("token ids")
	}
	if one := get(`{"input":[1,2]}`); len(one) != 1 {
		t.Error("one list of token ids is not one input")
	}
}

func dot(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestStartDelay(t *testing.T) {
	now := clock.NewFake(time.Unix(1_700_000_000, 0))
	cfg := DefaultConfig()
	cfg.StartDelay = time.Minute
	s, err := New(cfg, now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	health := func() int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", http.NoBody))
		return w.Code
	}
	if health() != http.StatusServiceUnavailable {
		t.Error("healthy while it loads")
	}
	now.Advance(time.Minute)
	if health() != http.StatusOK {
		t.Error("not healthy afterwards")
	}
}

// The pace is that of the configuration, on the clock that it was given.
func TestPace(t *testing.T) {
	now := clock.NewFake(time.Unix(1_700_000_000, 0))
	cfg := DefaultConfig()
	cfg.PrefillRate, cfg.DecodeRate, cfg.FirstToken, cfg.AnswerTokens = 10, 2, time.Second, 5
	s, err := New(cfg, now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		body := strings.NewReader(`{"messages":[{"role":"user","content":"` + strings.Repeat("x", 64) + `"}]}`) // 20 tokens
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", body))
		done <- w.Code
	}()
	begun := now.Now()
	for {
		select {
		case code := <-done:
			// One second, two of prefill, and four tokens after the first.
			if took := now.Now().Sub(begun); code != http.StatusOK || took < 5*time.Second || took > 5100*time.Millisecond {
				t.Errorf("%d after %v", code, took)
			}
			return
		default:
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if now.BlockUntil(ctx, 1) == nil {
				now.Advance(100 * time.Millisecond)
			}
			cancel()
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{}, clock.Real(), nil, nil)
	if err == nil {
		t.Fatal("an empty configuration is taken")
	}
	for _, part := range []string{"model", "context", "slots", "kv-tokens", "max-waiting", "answer-tokens", "dimensions"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not named in: %v", part, err)
		}
	}
}
