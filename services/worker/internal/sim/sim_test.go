package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
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
