package engine

import (
	"math"
	"strings"
)

// ExtraSwitch follows the name of an extra parameter that takes no value.
const ExtraSwitch = ":switch"

// llamaParameters are the flags that a spec may set: those that shape how the
// model computes, none that names a file, an address or a key.
func llamaParameters() map[string]flagKind {
	// -1 leaves the choice to the engine.
	count := integer(-1, math.MaxInt32)
	positive := integer(1, math.MaxInt32)
	scale := number(math.MaxFloat32)
	cacheType := oneOf("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
	return map[string]flagKind{
		"batch-size": positive, "cache-ram": count, "cache-type-k": cacheType, "cache-type-v": cacheType,
		"flash-attn": oneOf("on", "off", "auto"), "jinja": aSwitch(), "main-gpu": integer(0, 1024), "mlock": aSwitch(),
		"n-gpu-layers": count, "no-mmap": aSwitch(), "pooling": oneOf("none", "mean", "cls", "last", "rank"),
		"reasoning-budget": count, "reasoning-format": oneOf("none", "auto", "deepseek", "deepseek-legacy"),
		"rope-freq-base": scale, "rope-freq-scale": scale, "rope-scale": scale,
		"rope-scaling": oneOf("none", "linear", "yarn"), "seed": integer(-1, math.MaxUint32),
		"split-mode": oneOf("none", "layer", "row"), "swa-full": aSwitch(), "tensor-split": numbers(),
		"threads": count, "threads-batch": count, "ubatch-size": positive, "yarn-orig-ctx": integer(0, math.MaxInt32),
	}
}

// parameters are the flags that a spec may set on this worker.
func (l *Llama) parameters() map[string]flagKind {
	return parametersWith(llamaParameters(), l.cfg.ExtraParameters)
}

// parametersWith adds to the known flags those that the configuration allows.
func parametersWith(known map[string]flagKind, extra []string) map[string]flagKind {
	for _, e := range extra {
		if name, is := strings.CutSuffix(e, ExtraSwitch); is {
			known[name] = aSwitch()
		} else {
			known[e] = plainWord()
		}
	}
	return known
}
