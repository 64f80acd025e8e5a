package sim

import (
	"errors"
	"flag"
	"testing"
)

func TestServeTakesVLLMsCommandLine(t *testing.T) {
	cfg, err := Parse([]string{
		"serve", "/models/m", "--host=127.0.0.1", "--served-model-name=m@v1", "--max-num-seqs=3", "--max-model-len=2048",
		"--enable-prefix-caching", "--gpu-memory-utilization=0.8", "--port=77",
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := cfg.Engine; cfg.Port != 77 || e.Model != "m@v1" || e.Slots != 3 || e.ContextTokens != 2048 {
		t.Errorf("got %+v", cfg)
	}
	if cfg, err := Parse([]string{"serve", "m", "--port", "1"}); err != nil || cfg.Engine.Model != "m" {
		t.Errorf("without a name: %+v, %v", cfg, err)
	}
	for _, args := range [][]string{
		{"serve"},
		{"serve", "--port=1"},
		{"serve", "m", "--api-key=x"},
		{"serve", "m", "more"},
		{"serve", "m", "--max-model-len=0"},
		{"serve", "m", "--port=70000"},
	} {
		if cfg, err := Parse(args); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: %+v, %v", args, cfg, err)
		}
	}
}
