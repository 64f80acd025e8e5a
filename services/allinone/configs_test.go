package allinone

import (
	"testing"

	"github.com/poterne/poterne/services/allinone/internal/parts"
)

// The worker is given the quantiser that was found, and none where only the
// simulated engine runs.
func TestTheWorkerIsGivenTheQuantiser(t *testing.T) {
	p := &platform{cfg: DefaultConfig(), dir: &dataDir{path: t.TempDir()}}
	cfg, err := p.workerConfig(parts.Parts{LlamaServer: "/e/llama-server", LlamaQuantize: "/q/llama-quantize", LlamaPerplexity: "/e/llama-perplexity"})
	if err != nil {
		t.Fatal(err)
	}
	if l := cfg.Engines.LlamaServer; l.Path != "/e/llama-server" || l.Quantize != "/q/llama-quantize" || l.Perplexity != "/e/llama-perplexity" {
		t.Errorf("given %+v", l)
	}
	cfg, err = p.workerConfig(parts.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	if l := cfg.Engines.LlamaServer; l.Path != "" || l.Quantize != "" || l.Perplexity != "" {
		t.Errorf("of the simulator: %+v", l)
	}
}
