package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// fakeSGLang answers as SGLang's server does.
type fakeSGLang struct{ fakeAnswers }

func newFakeSGLang(context int) *fakeSGLang {
	f := &fakeSGLang{}
	f.context = context
	f.fail = func(w http.ResponseWriter, code int, _, message, _ string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"object":"error","message":%q,"type":"BadRequestError","param":null,"code":%d}`, message, code)
	}
	f.tooLong = func(n int) (string, string, string) {
		return "", fmt.Sprintf("The input (%d tokens) is longer than the model's context length (%d tokens).", n, context), ""
	}
	f.limit = func(r *fakeRequest) *int {
		if r.MaxCompletionTokens != nil && len(r.Messages) > 0 {
			return r.MaxCompletionTokens
		}
		return r.MaxTokens
	}
	return f
}

func (f *fakeSGLang) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
	case "/v1/models":
		fmt.Fprintf(w, `{"object":"list","data":[{"id":"m@v1","object":"model","created":1,"owned_by":"sglang","root":"m@v1","parent":null,"max_model_len":%d}]}`, f.context)
	case "/v1/chat/completions", "/v1/completions":
		f.generate(w, r)
	case "/tokenize":
		f.tokenize(w, r)
	case "/v1/rerank":
		f.rerank(w, r)
	case "/metrics":
		fmt.Fprintf(w, sglangMetrics, f.asked.Load(), f.made.Load())
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"Not Found"}`)
	}
}

// sglangMetrics is a page of SGLang's, abridged.
const sglangMetrics = `# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="m@v1",pp_rank="0",tp_rank="0"} 2.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{engine_type="unified",model_name="m@v1",pp_rank="0",tp_rank="0"} 0.0
# TYPE sglang:gen_throughput gauge
sglang:gen_throughput{engine_type="unified",model_name="m@v1",pp_rank="0",tp_rank="0"} 86.5
# TYPE sglang:cache_hit_rate gauge
sglang:cache_hit_rate{engine_type="unified",model_name="m@v1",pp_rank="0",tp_rank="0"} 0.4
# TYPE sglang:token_usage gauge
sglang:token_usage{engine_type="unified",model_name="m@v1",pp_rank="0",tp_rank="0"} 0.28
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="m@v1"} %d
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{model_name="m@v1"} %d
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_sum{model_name="m@v1"} 2351
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="m@v1"} 1
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="m@v1"} 2
sglang:time_to_first_token_seconds_count{model_name="m@v1"} 2
`

func (f *fakeSGLang) tokenize(w http.ResponseWriter, r *http.Request) {
	var req fakeRequest
	err := json.NewDecoder(r.Body).Decode(&req)
	if err != nil || (req.Prompt == "") == (len(req.Messages) == 0) {
		f.fail(w, http.StatusBadRequest, "", "Exactly one of 'prompt' or 'messages' must be provided.", "")
		return
	}
	n := req.words(len(req.Messages) > 0)
	_ = json.NewEncoder(w).Encode(map[string]any{"tokens": make([]int, n), "count": n, "max_model_len": f.context})
}
