package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// fakeRequest is what the fakes understand of a request.
type fakeRequest struct {
	Messages            []struct{ Content string } `json:"messages"`
	Prompt              string                     `json:"prompt"`
	Stream              bool                       `json:"stream"`
	Temperature         json.RawMessage            `json:"temperature"`
	MaxTokens           *int                       `json:"max_tokens"`
	MaxCompletionTokens *int                       `json:"max_completion_tokens"`
	Predict             *int                       `json:"n_predict"`
	IgnoreEOS           bool                       `json:"ignore_eos"`
}

// words counts tokens as all fakes do: one for each word, and for a chat five
// for the template.
func (r *fakeRequest) words(chat bool) int {
	text := r.Prompt
	for _, m := range r.Messages {
		text += m.Content
	}
	n := len(strings.Fields(text))
	if chat {
		n += 5
	}
	return n
}

// fakeAnswers makes answers of two words, or as many as a limit says of a
// request that ignores the end.
type fakeAnswers struct {
	context int
	aborted atomic.Int64
	asked   atomic.Int64 // tokens of prompts
	made    atomic.Int64 // tokens of answers
	// fail writes an error as the engine does; limit is the bound on the answer
	// that it obeys, nil when there is none.
	fail  func(w http.ResponseWriter, code int, kind, message, more string)
	limit func(r *fakeRequest) *int
	// tooLong words the error about n tokens; nil cuts the prompt silently.
	tooLong func(n int) (kind, message, more string)
}

func (f *fakeAnswers) generate(w http.ResponseWriter, r *http.Request) {
	var req fakeRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		f.fail(w, 400, "invalid_request_error", "[json.exception.parse_error.101] parse error", "")
		return
	}
	chat := strings.Contains(r.URL.Path, "chat")
	tokens := req.words(chat)
	answer := 2
	if n := f.limit(&req); n != nil && *n >= 0 {
		if answer = min(*n, answer); req.IgnoreEOS {
			answer = *n
		}
	} else if req.IgnoreEOS {
		answer = 500
	}
	switch {
	case chat && len(req.Messages) == 0:
		f.fail(w, 400, "invalid_request_error", "'messages' is required", "")
		return
	case strings.HasPrefix(string(req.Temperature), `"`):
		f.fail(w, 400, "invalid_request_error", "Field 'temperature': type must be number, but is string", "")
		return
	case tokens > f.context && f.tooLong == nil:
		tokens = f.context
	case tokens > f.context:
		kind, message, more := f.tooLong(tokens)
		f.fail(w, 400, kind, message, more)
		return
	}
	f.asked.Add(int64(tokens))
	f.made.Add(int64(answer))
	switch {
	case req.Stream:
		f.stream(w, r, chat, tokens, req.IgnoreEOS)
	case chat:
		fmt.Fprintf(w, `{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"Hello there"}}],"usage":{"completion_tokens":%d,"prompt_tokens":%d,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":1}},"timings":{"cache_n":1}}`, answer, tokens)
	default:
		fmt.Fprintf(w, `{"choices":[{"text":" Paris.","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"completion_tokens":%d,"prompt_tokens":%d}}`, answer, tokens)
	}
}

func (f *fakeAnswers) stream(w http.ResponseWriter, r *http.Request, chat bool, tokens int, endless bool) {
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
	send(`{"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":%d},"timings":{"cache_n":0}}`, tokens)
	send(`[DONE]`)
}

// fakeLlama answers as llama-server does, down to its oddities: n_predict wins
// over the other names of the bound, and the newer over the older.
type fakeLlama struct {
	fakeAnswers

	noSlots bool // started with --no-slots
}

func newFakeLlama(context int) *fakeLlama {
	f := &fakeLlama{}
	f.context = context
	f.fail = func(w http.ResponseWriter, code int, kind, message, more string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"type":%q%s}}`, code, message, kind, more)
	}
	f.tooLong = func(n int) (string, string, string) {
		return "exceed_context_size_error",
			fmt.Sprintf("request (%d tokens) exceeds the available context size (%d tokens), try increasing it", n, context),
			fmt.Sprintf(`,"n_prompt_tokens":%d,"n_ctx":%d`, n, context)
	}
	f.limit = func(r *fakeRequest) *int {
		for _, n := range []*int{r.Predict, r.MaxCompletionTokens, r.MaxTokens} {
			if n != nil {
				return n
			}
		}
		return nil
	}
	return f
}

func (f *fakeLlama) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		fmt.Fprint(w, `{"status":"ok"}`)
	case "/props":
		fmt.Fprintf(w, `{"total_slots":4,"default_generation_settings":{"n_ctx":%d},"model_path":"x"}`, f.context)
	case "/v1/chat/completions", "/v1/completions":
		f.generate(w, r)
	case "/v1/rerank":
		f.rerank(w, r)
	case "/metrics":
		fmt.Fprintf(w, llamaMetrics, f.asked.Load()-10, 10, f.made.Load())
	case "/slots":
		if f.noSlots {
			f.fail(w, 501, "not_supported_error", "This server does not support slots endpoint. Start it with `--slots`", "")
			return
		}
		fmt.Fprint(w, `[{"id":0,"n_ctx":200,"is_processing":true,"n_prompt_tokens":50},{"id":1,"n_ctx":200,"is_processing":false,"n_prompt_tokens":150}]`)
	case "/apply-template":
		f.applyTemplate(w, r)
	case "/tokenize":
		f.tokenize(w, r)
	default:
		f.fail(w, 404, "not_found_error", "File Not Found", "")
	}
}

// llamaMetrics is a page of llama-server's, abridged.
const llamaMetrics = `# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total %d
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total %d
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total %d
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 0
`

func (f *fakeLlama) applyTemplate(w http.ResponseWriter, r *http.Request) {
	var req fakeRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
		f.fail(w, 400, "invalid_request_error", "'messages' is required", "")
		return
	}
	prompt := "<s> user"
	for _, m := range req.Messages {
		prompt += " " + m.Content
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"prompt": prompt + " </s> assistant :"})
}

func (f *fakeLlama) tokenize(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Content      string `json:"content"`
		AddSpecial   bool   `json:"add_special"`
		ParseSpecial bool   `json:"parse_special"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || !req.AddSpecial || !req.ParseSpecial {
		f.fail(w, 400, "invalid_request_error", "odd request", "")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string][]int{"tokens": make([]int, len(strings.Fields(req.Content)))})
}
