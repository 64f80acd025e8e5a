package worker

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/quantize"
)

// The programs that quantise, by the names that llama.cpp gives them, and what
// turns one off.
const (
	programQuantize   = "llama-quantize"
	programPerplexity = "llama-perplexity"
	programNone       = "none"
)

// tool returns a program of llama.cpp's: the one that is configured, or the one of
// that name beside llama-server, or whichever is found.
func (l LlamaServer) tool(configured, name string) *engine.Program {
	switch configured {
	case "":
	case programNone:
		return engine.NewProgram()
	default:
		return engine.NewProgram(configured)
	}
	server, err := l.program().Path()
	if err != nil {
		return engine.NewProgram()
	}
	beside := filepath.Join(filepath.Dir(server), name)
	if _, err := exec.LookPath(beside); err == nil {
		return engine.NewProgram(beside)
	}
	return engine.NewProgram(name)
}

// quantizeDirectory is where made weights are kept.
func (c *Config) quantizeDirectory(state string) string {
	if c.Quantize.Directory != "" {
		return c.Quantize.Directory
	}
	return filepath.Join(state, "quantized")
}

// roots are the directories that models' files may lie in: what the worker has made
// is among them.
func (c *Config) roots(state string) []string {
	if len(c.Artifacts.Roots) == 0 || !c.quantizes() {
		return c.Artifacts.Roots
	}
	return append([]string{c.quantizeDirectory(state)}, c.Artifacts.Roots...)
}

// quantizes reports whether the worker could quantise at all.
func (c *Config) quantizes() bool {
	l := c.Engines.LlamaServer
	return strings.TrimSpace(l.Path) != "" && l.Quantize != programNone
}

// newMaker returns what makes weights; nil when that is turned off.
func (s *Service) newMaker(files *artifact.Store, ledger *process.Ledger, state string) (*quantize.Maker, error) {
	if !s.cfg.quantizes() {
		return nil, nil //nolint:nilnil // nothing is made, and that is no error
	}
	l, cfg := s.cfg.Engines.LlamaServer, s.cfg.Quantize
	cfg.Directory = s.cfg.quantizeDirectory(state)
	maker, err := quantize.New(cfg, quantize.Parts{
		Quantize: l.tool(l.Quantize, programQuantize), Perplexity: l.tool(l.Perplexity, programPerplexity),
		Ledger: ledger, Log: s.opts.telemetry.Logger, DiskFree: blob.DiskFree, Read: readWeights,
		Verify: func(ctx context.Context, path, sum string) error { return files.Verify(ctx, path, sum) },
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, maker.Close)
	return maker, nil
}

// readWeights reads the head of a file of weights.
func readWeights(path string) (quantize.Weights, error) {
	w, err := engine.ReadWeights(path)
	return quantize.Weights{
		Parameters: w.Parameters, Largest: w.Largest, Quantized: w.Quantized, TrainedContext: w.TrainedContext, MeasureBytes: w.MeasureBytes,
	}, err
}
