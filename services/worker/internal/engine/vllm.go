package engine

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// VLLM is vLLM's OpenAI server, `vllm serve`.
type VLLM struct{ cfg GPUServerConfig }

// NewVLLM returns the adapter.
func NewVLLM(cfg GPUServerConfig) *VLLM { return &VLLM{cfg} }

// Kind is vllm.
func (*VLLM) Kind() string { return KindVLLM }

// Available looks for the program.
func (v *VLLM) Available() error {
	_, err := v.cfg.Program.Path()
	return err
}

// uvicornIdle is less than the five seconds after which uvicorn, on which vLLM
// and SGLang stand, closes kept connections.
const uvicornIdle = 3 * time.Second

// parameters are the flags that a spec may set: how the model computes, nothing
// that names a file, an address, a key or code to load. The names are those of
// vLLM's EngineArgs (vllm/engine/arg_utils.py).
func (v *VLLM) parameters() map[string]flagKind {
	positive := integer(1, math.MaxInt32)
	return parametersWith(map[string]flagKind{
		"tensor-parallel-size": integer(1, maxGPUs), "pipeline-parallel-size": integer(1, maxGPUs),
		"max-model-len": positive, "max-num-batched-tokens": positive, "block-size": integer(1, 1024),
		"gpu-memory-utilization": number(1), "cpu-offload-gb": number(4096), "seed": integer(0, math.MaxUint32),
		"quantization":          plainWord(),
		"dtype":                 oneOf("auto", "half", "float16", "bfloat16", "float", "float32"),
		"kv-cache-dtype":        plainWord(),
		"enable-prefix-caching": aToggle(), "enable-chunked-prefill": aToggle(), "enforce-eager": aSwitch(),
		"enable-auto-tool-choice": aSwitch(), "tool-call-parser": plainWord(), "reasoning-parser": plainWord(),
		"runner": oneOf("auto", "generate", "pooling"), "revision": plainWord(),
	}, v.cfg.ExtraParameters)
}

func (v *VLLM) names() gpuFlags {
	return gpuFlags{
		slots: "max-num-seqs", context: "max-model-len", others: v.parameters(),
		tensor: "tensor-parallel-size", tensorFlag: "--tensor-parallel-size", groups: "pipeline-parallel-size",
		fraction: "gpu-memory-utilization", grant: ofTotal,
	}
}

// Size says what the model takes of GPUs.
func (v *VLLM) Size(_ context.Context, m Model) (Size, error) { return v.cfg.sizeOf(m, v.names()) }

// Plan starts vLLM with the model's directory.
func (v *VLLM) Plan(_ context.Context, m Model) (*Plan, error) {
	path, err := v.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(v.Kind(), err)
	}
	r, err := v.cfg.read(m, v.names())
	if err != nil {
		return nil, err
	}
	extras, served, err := v.extras(m)
	if err != nil {
		return nil, err
	}
	args := slices.Concat(v.cfg.Program.first(), []string{
		"serve", r.source, "--host=127.0.0.1", "--served-model-name=" + served, "--max-num-seqs=" + strconv.Itoa(r.slots),
	})
	if r.tokens > 0 {
		args = append(args, "--max-model-len="+strconv.Itoa(r.tokens))
	}
	args = slices.Concat(args, extras, r.flags)
	return v.cfg.plan(m, path, args, r, vllmDialect), nil
}

// vllmDialect is how vLLM is spoken to. GET /health answers 200 once the engine
// is up (vllm/entrypoints/serve/instrumentator/health.py).
func vllmDialect(m Model, port int) dialect {
	return uvicornDialect(m, port, vllmSignals)
}

// vllmSignals reads vLLM's metrics (vllm/v1/metrics/loggers.py). The KV cache's
// was called gpu_cache_usage_perc until 0.10, and the prefix cache's
// gpu_prefix_cache_*; despite its name the first is a share of 1. The prefix
// cache counts tokens, and prompts with those that were found in it.
func vllmSignals(m metrics) Signals {
	return Signals{
		Running: m.sum("vllm:num_requests_running"), Waiting: m.sum("vllm:num_requests_waiting"),
		KVCacheUsage: m.share("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
		PromptTokens: m.sum("vllm:prompt_tokens_total"), GeneratedTokens: m.sum("vllm:generation_tokens_total"),
		CacheLookups: m.sum("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
		CacheHits:    m.sum("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
	}
}

// vllmFacts reads the list of models, to which vLLM and SGLang add the context.
func vllmFacts(ctx context.Context, c *client) (Facts, error) {
	body, err := c.get(ctx, c.d.base+"/models")
	if err != nil {
		return Facts{}, err
	}
	var list struct {
		Data []struct {
			MaxModelLen int `json:"max_model_len"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return Facts{}, apierr.Wrap(apierr.EngineFailed, err, "the engine's list of models cannot be read")
	}
	if len(list.Data) == 0 {
		return Facts{}, nil
	}
	return Facts{ContextLength: list.Data[0].MaxModelLen}, nil
}
