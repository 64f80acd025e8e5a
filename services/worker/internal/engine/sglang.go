package engine

import (
	"context"
	"math"
	"slices"
	"strconv"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// SGLang is SGLang's server, `sglang serve` or `python -m sglang.launch_server`.
type SGLang struct{ cfg GPUServerConfig }

// NewSGLang returns the adapter.
func NewSGLang(cfg GPUServerConfig) *SGLang { return &SGLang{cfg} }

// Kind is sglang.
func (*SGLang) Kind() string { return KindSGLang }

// Available looks for the program.
func (s *SGLang) Available() error {
	_, err := s.cfg.Program.Path()
	return err
}

// parameters are the flags that a spec may set, with the same bounds as vLLM's.
// The names are those of SGLang's ServerArgs (python/sglang/srt/server_args.py).
func (s *SGLang) parameters() map[string]flagKind {
	positive := integer(1, math.MaxInt32)
	return parametersWith(map[string]flagKind{
		"tensor-parallel-size": integer(1, maxGPUs), "data-parallel-size": integer(1, maxGPUs),
		"context-length": positive, "max-total-tokens": positive, "chunked-prefill-size": integer(-1, math.MaxInt32),
		"mem-fraction-static": number(1), "random-seed": integer(0, math.MaxUint32),
		"quantization":        plainWord(),
		"dtype":               oneOf("auto", "half", "float16", "bfloat16", "float", "float32"),
		"kv-cache-dtype":      plainWord(),
		"disable-radix-cache": aSwitch(), "disable-cuda-graph": aSwitch(),
		"schedule-policy":  oneOf("lpm", "random", "fcfs", "dfs-weight", "lof", "priority"),
		"tool-call-parser": plainWord(), "reasoning-parser": plainWord(), "attention-backend": plainWord(),
		"revision": plainWord(),
	}, s.cfg.ExtraParameters)
}

func (s *SGLang) names() gpuFlags {
	return gpuFlags{
		slots: "max-running-requests", context: "context-length", others: s.parameters(),
		tensor: "tensor-parallel-size", tensorFlag: "--tp-size", groups: "data-parallel-size", copies: true,
		fraction: "mem-fraction-static", grant: ofFree,
	}
}

// Size says what the model takes of GPUs.
func (s *SGLang) Size(_ context.Context, m Model) (Size, error) { return s.cfg.sizeOf(m, s.names()) }

// Plan starts SGLang with the model's directory and its metrics on.
func (s *SGLang) Plan(_ context.Context, m Model) (*Plan, error) {
	path, err := s.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(s.Kind(), err)
	}
	r, err := s.cfg.read(m, s.names())
	if err != nil {
		return nil, err
	}
	args := slices.Concat(s.cfg.Program.first(), []string{
		"--model-path=" + r.source, "--host=127.0.0.1", "--served-model-name=" + m.Name,
		"--max-running-requests=" + strconv.Itoa(r.slots), "--enable-metrics",
	})
	if r.tokens > 0 {
		args = append(args, "--context-length="+strconv.Itoa(r.tokens))
	}
	if t := m.Spec.GetTask(); t == commonv1.Task_TASK_EMBEDDING || t == commonv1.Task_TASK_RERANK {
		args = append(args, "--is-embedding")
	}
	if s.cfg.CPU {
		args = append(args, "--device=cpu")
	}
	args = append(args, r.flags...)
	return s.cfg.plan(m, path, args, r, sglangDialect), nil
}

// sglangDialect is how SGLang is spoken to. GET /health answers 503 while the
// server starts or has lost its scheduler, and 200 otherwise
// (python/sglang/srt/entrypoints/http_server.py).
func sglangDialect(m Model, port int) dialect {
	d := uvicornDialect(m, port, sglangSignals)
	d.rerank.quiet = true
	return d
}

// sglangSignals reads SGLang's metrics
// (python/sglang/srt/observability/metrics_collector.py). Its hit rate is of the
// latest prompts, not of all.
func sglangSignals(m metrics) Signals {
	return Signals{
		Running: m.sum("sglang:num_running_reqs"), Waiting: m.sum("sglang:num_queue_reqs"),
		KVCacheUsage: m.share("sglang:token_usage"), CacheHitRate: m.share("sglang:cache_hit_rate"),
		PromptTokens: m.sum("sglang:prompt_tokens_total"), GeneratedTokens: m.sum("sglang:generation_tokens_total"),
		GenerationRate: m.sum("sglang:gen_throughput"),
	}
}
