package engine

import (
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// vllmOldMetrics is a page as vLLM 0.9 wrote it, with two schedulers, abridged.
const vllmOldMetrics = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:gpu_cache_usage_perc{engine="1",model_name="m"} 0.75
# TYPE vllm:gpu_prefix_cache_queries_total counter
vllm:gpu_prefix_cache_queries_total{engine="0",model_name="m"} 1e+06
# TYPE vllm:gpu_prefix_cache_hits_total counter
vllm:gpu_prefix_cache_hits_total{engine="0",model_name="m"} 400000.0
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 0.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="m"} 6.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 6.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 90.0
`

func TestVLLMSignals(t *testing.T) {
	page, err := parseMetrics([]byte(vllmOldMetrics))
	if err != nil {
		t.Fatal(err)
	}
	s := vllmSignals(page)
	if *s.Running != 7 || *s.Waiting != 2 || *s.KVCacheUsage != 0.5 || *s.CacheLookups != 1e6 || *s.CacheHits != 4e5 {
		t.Errorf("got %+v", s)
	}
	if s.PromptTokens != nil || s.GeneratedTokens != nil || s.CacheHitRate != nil || s.MemoryBytes != nil {
		t.Errorf("told what is not there: %+v", s)
	}
	if s := vllmSignals(nil); s.Told() {
		t.Errorf("an empty page tells %+v", s)
	}
}

func TestLlamaWithoutSlots(t *testing.T) {
	fake := newFakeLlama(512)
	root := localURL(serve(t, fake))
	c := newClient(dialect{base: root + "/v1"})
	defer c.Close()
	s, err := llamaSignals(t.Context(), c, root)
	if err != nil || *s.KVCacheUsage != 0.125 {
		t.Errorf("with slots: %+v, %v", s, err)
	}
	fake.noSlots = true
	if s, err := llamaSignals(t.Context(), c, root); err != nil || s.KVCacheUsage != nil || s.Running == nil {
		t.Errorf("without: %+v, %v", s, err)
	}
}

func TestMetricsThatAreNone(t *testing.T) {
	for name, page := range map[string]string{
		"html":      "<html><body>404</body></html>",
		"cut":       "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0",
		"too large": "# " + strings.Repeat("x", maxMetricsBytes) + "\n",
	} {
		port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) }))
		e := newClient(vllmDialect(Model{Name: "m", Spec: chatSpec(KindVLLM, 0)}, port))
		if s, err := e.Signals(t.Context()); apierr.ReasonOf(err) != apierr.EngineFailed || s.Told() {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		e.Close()
	}
}

// FuzzMetrics: whatever a page says, what is read of it is a plain figure within
// its bounds.
func FuzzMetrics(f *testing.F) {
	f.Add(vllmOldMetrics)
	f.Add("vllm:num_requests_running NaN\nvllm:kv_cache_usage_perc +Inf\nvllm:prompt_tokens_total -1\n")
	f.Add("vllm:kv_cache_usage_perc 7\nvllm:num_requests_waiting 1e308\nvllm:num_requests_waiting{a=\"b\"} 1e308\n")
	f.Add("# TYPE sglang:token_usage summary\nsglang:token_usage{quantile=\"0.5\"} 1\nsglang:token_usage_sum 2\n")
	f.Fuzz(func(t *testing.T, page string) {
		m, err := parseMetrics([]byte(page))
		if err != nil {
			return
		}
		for _, s := range []Signals{vllmSignals(m), sglangSignals(m)} {
			for _, v := range []*float64{s.Running, s.Waiting, s.PromptTokens, s.CacheLookups, s.GenerationRate} {
				if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0) || *v < 0) {
					t.Fatalf("read %v", *v)
				}
			}
			for _, v := range []*float64{s.KVCacheUsage, s.CacheHitRate} {
				if v != nil && !(*v >= 0 && *v <= 1) {
					t.Fatalf("a share of %v", *v)
				}
			}
		}
	})
}
