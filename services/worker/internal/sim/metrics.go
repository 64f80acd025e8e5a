package sim

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// The names of the metrics: vLLM's, and this engine's own under `sim:`. The
// only label is the model's name, which says that it is simulated.
const (
	metricRunning    = "vllm:num_requests_running"
	metricWaiting    = "vllm:num_requests_waiting"
	metricMemory     = "vllm:kv_cache_usage_perc"
	metricPrompt     = "vllm:prompt_tokens_total"
	metricGeneration = "vllm:generation_tokens_total"
	metricQueries    = "vllm:prefix_cache_queries_total"
	metricHits       = "vllm:prefix_cache_hits_total"
	metricSuccess    = "vllm:request_success_total"
	metricRequests   = "sim:requests_total"
	metricAborted    = "sim:requests_aborted_total"
	metricErrors     = "sim:errors_total"
)

type counters struct {
	requests, succeeded, aborted, errors        atomic.Int64
	promptTokens, generatedTokens, cachedTokens atomic.Int64
}

func (s *Server) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	running, waiting, memory := s.sched.usage()
	var b strings.Builder
	write := func(name, kind, help string, value any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s{model_name=%q,engine=\"0\"} %v\n", name, help, name, kind, name, s.name, value)
	}
	write(metricRunning, "gauge", "Requests that run (simulated).", running)
	write(metricWaiting, "gauge", "Requests that wait (simulated).", waiting)
	write(metricMemory, "gauge", "Share of the KV cache taken, 0 to 1 (simulated).", memory)
	write(metricPrompt, "counter", "Tokens of prompts (simulated).", s.counts.promptTokens.Load())
	write(metricGeneration, "counter", "Tokens of answers (simulated).", s.counts.generatedTokens.Load())
	write(metricQueries, "counter", "Tokens looked up in the prefix cache (simulated).", s.counts.promptTokens.Load())
	write(metricHits, "counter", "Tokens found in the prefix cache (simulated).", s.counts.cachedTokens.Load())
	write(metricSuccess, "counter", "Requests answered (simulated).", s.counts.succeeded.Load())
	write(metricRequests, "counter", "Requests received.", s.counts.requests.Load())
	write(metricAborted, "counter", "Requests whose client left, or that were cut on purpose.", s.counts.aborted.Load())
	write(metricErrors, "counter", "Requests answered with an error.", s.counts.errors.Load())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(b.String()))
}

// State is what GET /sim/state answers, for tests.
type State struct {
	Running   int   `json:"running"`
	Waiting   int   `json:"waiting"`
	Requests  int64 `json:"requests"`
	Succeeded int64 `json:"succeeded"`
	Aborted   int64 `json:"aborted"`
	Errors    int64 `json:"errors"`
}

func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	running, waiting, _ := s.sched.usage()
	writeJSON(w, http.StatusOK, State{
		Running: running, Waiting: waiting, Requests: s.counts.requests.Load(),
		Succeeded: s.counts.succeeded.Load(), Aborted: s.counts.aborted.Load(), Errors: s.counts.errors.Load(),
	})
}
