package engine

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
)

// ollamaContext is Ollama's own on machines with little GPU memory.
const ollamaContext = 4096

// Size says what the model takes of GPUs: nothing when Ollama computes on the
// CPU, or is not ours to start.
func (o *Ollama) Size(_ context.Context, m Model) (Size, error) {
	if o.cfg.CPU || o.cfg.URL != "" {
		return Size{}, nil
	}
	p := newParameters(m.Spec.GetParameters())
	slots := p.number("slots", o.cfg.Slots, maxSlots)
	tokens := p.context("num_ctx", m)
	declared := p.size(parameterMemory)
	if err := p.problem(); err != nil {
		return Size{}, err
	}
	return o.size(m, declared, slots, tokens)
}

// size is told by the spec, or by a GGUF file.
func (o *Ollama) size(m Model, declared int64, slots, tokens int) (Size, error) {
	if declared > 0 {
		return Size{Host: runtimeMemory, Shared: declared}, nil
	}
	info, tokens, err := o.weights(m, tokens)
	if err != nil {
		return Size{}, err
	}
	return info.size(slots, tokens, allLayers), nil
}

func (o *Ollama) weights(m Model, tokens int) (ggufInfo, int, error) {
	if len(m.Files) == 0 {
		return ggufInfo{}, 0, apierr.Invalid("spec.parameters."+parameterMemory,
			"parameter %s must say what the model takes: it is not known before Ollama has it", parameterMemory)
	}
	weights, err := weightsOf(m)
	if err != nil {
		return ggufInfo{}, 0, err
	}
	info, err := readGGUF(weights)
	if tokens == 0 {
		tokens = min(ollamaContext, info.trainedContext)
	}
	return info, tokens, err
}

// memory is the model's, by pool. Where there are no GPUs that it was given, it
// is that of the first one, so that the refusal names it.
func (o *Ollama) memory(m Model, declared int64, slots, tokens int) (map[string]int64, error) {
	if len(m.GPUs) > 0 {
		size, err := o.size(m, declared, slots, tokens)
		return size.On(m.GPUs), err
	}
	pool := "gpu0"
	if o.cfg.CPU {
		pool = PoolCPU
	}
	if declared > 0 {
		return map[string]int64{pool: declared}, nil
	}
	info, tokens, err := o.weights(m, tokens)
	if err != nil {
		return nil, err
	}
	return map[string]int64{pool: info.memory(slots, tokens)[PoolCPU]}, nil
}
