package engine

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
)

// GPUServerConfig is how a server such as vLLM or SGLang is started. Each
// process serves one model.
type GPUServerConfig struct {
	Program *Program
	// Slots is how many requests a model runs at once when its spec does not say;
	// Queue is how many more may wait in the engine.
	Slots, Queue int
	// CPU says that the program computes on the CPU: its memory is then the
	// machine's, and otherwise that of the GPUs that it is given.
	CPU bool
	// Hub allows specs to name a model of a hub (parameter model) instead of
	// files. The version's digest does not cover what the engine then downloads.
	Hub bool
	// GPUShare is the share of what is free of a GPU that a model is given whose
	// spec does not say what it takes, if that is more than it needs.
	GPUShare float64
	// ExtraParameters are allowed besides the known ones, as for llama-server.
	ExtraParameters []string
}

// parameterMemory is what a spec says its model takes, in bytes, where the
// worker cannot tell or tells wrong. Engines are not told.
const parameterMemory = "memory-bytes"

// hubModel is a model of the Hugging Face hub: it can be neither a path nor a
// flag.
var hubModel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// modelOf returns the directory of the model's files, or its name in a hub.
func (c GPUServerConfig) modelOf(m Model, p *parameters) (string, error) {
	name := p.text("model", "")
	if len(m.Files) > 0 {
		if name != "" {
			p.fail("model", "cannot be given besides artifacts")
		}
		return directoryOf(m)
	}
	switch {
	case !c.Hub:
		return "", apierr.Invalid("spec.artifacts", "engine %s needs the model's files as artifacts: this worker loads none from a hub", m.Spec.GetEngine())
	case !hubModel.MatchString(name):
		p.fail("model", "must be a model of the hub, as owner/name, when there are no artifacts")
	}
	return name, nil
}

// directoryOf returns the directory that holds all of the model's files: these
// engines read configuration, tokeniser and weights from one. A single GGUF
// file is given as such.
func directoryOf(m Model) (string, error) {
	weights, err := weightsOf(m)
	if err != nil {
		return "", err
	}
	if len(m.Files) == 1 && filepath.Ext(weights.Path) == ".gguf" {
		return weights.Path, nil
	}
	dir := filepath.Dir(weights.Path)
	for _, f := range m.Files {
		if filepath.Dir(f.Path) != dir {
			return "", apierr.Invalid("spec.artifacts", "engine %s needs the model's files in one directory", m.Spec.GetEngine())
		}
	}
	return dir, nil
}

// plan is how such a server serves a model, started with args and the port.
func (c GPUServerConfig) plan(m Model, path string, args []string, r gpuReading, speak func(Model, int) dialect) *Plan {
	return &Plan{
		Command: &Command{
			Path: path, Env: cudaEnv(m.GPUs),
			Args:     func(port int) []string { return append(slices.Clone(args), "--port="+strconv.Itoa(port)) },
			Measures: len(m.GPUs) > 0, Fit: r.fit,
		},
		Connect: func(port int) Engine {
			d := speak(m, port)
			d.embed.prefixes = r.prefixes
			return newClient(d)
		},
		Slots: r.slots, MaxInFlight: r.slots + c.Queue, ContextLength: r.tokens, MemoryBytes: c.memory(m, r.size),
	}
}

// uvicornDialect is what vLLM and SGLang have in common; signals reads the
// metrics, whose names they do not.
func uvicornDialect(m Model, port int, signals func(metrics) Signals) dialect {
	root := localURL(port)
	return dialect{
		base: root + "/v1", health: root + "/health", model: m.Name, idle: uvicornIdle,
		running: tellsUsage, prefill: prefillFlags, impossible: m.Impossible,
		embed:  embedDialect{batch: 256, tokens: true, shortens: true, dimensions: int(m.Spec.GetEmbeddingDimensions())},
		rerank: rerankDialect{batch: 64},
		facts:  vllmFacts,
		signals: func(ctx context.Context, c *client) (Signals, error) {
			page, err := c.metrics(ctx, root+"/metrics")
			return signals(page), err
		},
		tokenize: openTokenize(root),
	}
}
