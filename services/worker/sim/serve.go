package sim

import (
	"errors"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// serveCommand makes the engine take vLLM's command line, `vllm serve MODEL …`,
// so that what starts vLLM can be tried without it. Its own flags go with it.
const serveCommand = "serve"

// ignored are flags of vLLM's that take a value and change nothing here.
func ignored() []string {
	return []string{
		"tensor-parallel-size", "pipeline-parallel-size", "gpu-memory-utilization", "quantization", "dtype",
		"kv-cache-dtype", "max-num-batched-tokens", "block-size", "revision", "runner",
	}
}

func parseServe(args []string) (Config, error) {
	var cfg Config
	fs := flags(&cfg)
	served := fs.String("served-model-name", "", "served name; the model's otherwise")
	fs.IntVar(&cfg.Engine.ContextTokens, "max-model-len", cfg.Engine.ContextTokens, "tokens that prompt and answer may have together")
	fs.IntVar(&cfg.Engine.Slots, "max-num-seqs", cfg.Engine.Slots, "requests that run at once")
	for _, name := range ignored() {
		fs.String(name, "", "ignored")
	}
	for _, name := range []string{"enable-prefix-caching", "no-enable-prefix-caching", "enforce-eager"} {
		fs.Bool(name, false, "ignored")
	}
	var p config.Problems
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		p.Check(false, "model", "must follow serve")
		return Config{}, p.Err()
	}
	if err := fs.Parse(args[1:]); err != nil {
		return Config{}, err
	}
	if cfg.Engine.Model = *served; cfg.Engine.Model == "" {
		cfg.Engine.Model = args[0]
	}
	p.Check(fs.NArg() == 0, "arguments", "unexpected %q", fs.Arg(0))
	p.Check(cfg.Port >= 0 && cfg.Port <= 65535, "port", "must be from 0 to 65535, got %d", cfg.Port)
	return cfg, errors.Join(p.Err(), cfg.Engine.Validate())
}
