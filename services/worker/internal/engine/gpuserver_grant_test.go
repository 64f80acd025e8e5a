package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// arguments is the command line of a plan for GPUs of which so much is free.
func arguments(p *Plan, free map[string]int64) string {
	args := slices.Clone(p.Command.Args(77))
	if p.Command.Fit != nil {
		args = append(args, p.Command.Fit(free)...)
	}
	return strings.Join(args, " ")
}

// A server is told how much of its GPUs was set aside for it, in its own terms,
// unless its spec says what it takes.
func TestGPUServersAreToldWhatTheyMayTake(t *testing.T) {
	const gib = 1 << 30
	cfg := GPUServerConfig{Program: thisProgram(t), Slots: 64, GPUShare: 0.5}
	gpu := func(pool string, total, bytes int64) GPU {
		return GPU{Pool: pool, Device: "GPU-" + pool, Total: total, Bytes: bytes}
	}
	idle := map[string]int64{"gpu0": 80 * gib, "gpu1": 80 * gib}
	for name, tt := range map[string]struct {
		adapter    Adapter
		parameters map[string]string
		gpus       []GPU
		free       map[string]int64
		want       string // a part of the command line; after ! what must not be
	}{
		"of the whole GPU, without CUDA's own": {
			NewVLLM(cfg), nil, []GPU{gpu("gpu0", 80*gib, 40*gib)}, idle, "--gpu-memory-utilization=0.4937 --port",
		},
		"of the largest": {
			NewVLLM(cfg), nil, []GPU{gpu("gpu0", 40*gib, 20*gib), gpu("gpu1", 80*gib, 20*gib)}, idle, "--gpu-memory-utilization=0.2437 --port",
		},
		"as vLLM's spec says": {
			NewVLLM(cfg),
			map[string]string{"gpu-memory-utilization": "0.3"},
			[]GPU{gpu("gpu0", 80*gib, 40*gib)},
			idle, "--gpu-memory-utilization=0.3 --port",
		},
		"without a decision": {NewVLLM(cfg), nil, []GPU{gpu("gpu0", 80*gib, 0)}, idle, "!utilization"},
		"a total that is not known": {
			NewVLLM(cfg), nil, []GPU{gpu("gpu0", 0, 40*gib)}, idle, "!utilization",
		},
		"of what is free at the start": {
			NewSGLang(cfg), nil, []GPU{gpu("gpu0", 80*gib, 48*gib)}, idle, "--port=77 --mem-fraction-static=0.5",
		},
		"when another has loaded meanwhile": {
			NewSGLang(cfg), nil, []GPU{gpu("gpu0", 80*gib, 30*gib)}, map[string]int64{"gpu0": 40 * gib}, "--mem-fraction-static=0.625",
		},
		"where least is free": {
			NewSGLang(cfg), nil,
			[]GPU{gpu("gpu0", 80*gib, 24*gib), gpu("gpu1", 80*gib, 24*gib)},
			map[string]int64{"gpu0": 80 * gib, "gpu1": 25 * gib},
			"--mem-fraction-static=0.8",
		},
		"never all": {
			NewSGLang(cfg), nil, []GPU{gpu("gpu0", 80*gib, 24*gib)}, map[string]int64{"gpu0": 10 * gib}, "--mem-fraction-static=0.98",
		},
		"at least weights and a cache": {
			NewSGLang(cfg),
			map[string]string{"memory-bytes": "10737418240"},
			[]GPU{gpu("gpu0", 80*gib, 11*gib)},
			map[string]int64{"gpu0": 20 * gib},
			"--mem-fraction-static=0.5",
		},
		"as SGLang's spec says": {
			NewSGLang(cfg),
			map[string]string{"mem-fraction-static": "0.7"},
			[]GPU{gpu("gpu0", 80*gib, 48*gib)},
			idle, "--mem-fraction-static=0.7 --port=77",
		},
		"where nothing is known": {
			NewSGLang(cfg), nil, []GPU{gpu("gpu0", 80*gib, 48*gib)}, nil, "!mem-fraction",
		},
	} {
		m := hfModel(t, 1<<20)
		m.Spec.Engine, m.Spec.Parameters, m.GPUs = tt.adapter.Kind(), tt.parameters, tt.gpus
		plan, err := tt.adapter.Plan(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		args := arguments(plan, tt.free) + " "
		not, negative := strings.CutPrefix(tt.want, "!")
		if strings.Contains(args, not) == negative || strings.Count(args, "fraction")+strings.Count(args, "utilization") > 1 {
			t.Errorf("%s: %s, want %s", name, args, tt.want)
		}
		if !plan.Command.Measures {
			t.Errorf("%s: others may start beside it", name)
		}
		for _, g := range tt.gpus {
			if g.Bytes > 0 && plan.MemoryBytes[g.Pool] != g.Bytes {
				t.Errorf("%s: memory %v, and it was given %d", name, plan.MemoryBytes, g.Bytes)
			}
		}
	}
}

// The size says how much the agent is to set aside.
func TestGPUServersSayHowMuchTheyWillTake(t *testing.T) {
	cfg := GPUServerConfig{Program: thisProgram(t), Slots: 64, GPUShare: 0.5}
	for name, tt := range map[string]struct {
		adapter    Sizer
		parameters map[string]string
		free, all  float64
	}{
		"configured": {NewVLLM(cfg), nil, 0.5, 0},
		"vLLM":       {NewVLLM(cfg), map[string]string{"gpu-memory-utilization": "0.3"}, 0, 0.3},
		"SGLang":     {NewSGLang(cfg), map[string]string{"mem-fraction-static": "0.7"}, 0.7, 0},
	} {
		m := hfModel(t, 1<<20)
		m.Spec.Parameters = maps.Clone(tt.parameters)
		if got, err := tt.adapter.Size(t.Context(), m); err != nil || !got.Greedy || got.OfFree != tt.free || got.OfTotal != tt.all {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is no share is refused, rather than passed on beside the worker's own.
func TestGPUServersRefuseWhatIsNoShare(t *testing.T) {
	const gib = 1 << 30
	cfg := GPUServerConfig{Program: thisProgram(t), Slots: 64, GPUShare: 0.5}
	for parameter, adapter := range map[string]Adapter{"gpu-memory-utilization": NewVLLM(cfg), "mem-fraction-static": NewSGLang(cfg)} {
		for _, value := range []string{"0", "0.0", "-0", "1e-999", "1.0001", "-0.5", "NaN", "Inf", "", "half"} {
			m := hfModel(t, 1<<20)
			m.Spec.Engine, m.Spec.Parameters = adapter.Kind(), map[string]string{parameter: value}
			m.GPUs = []GPU{{Pool: "gpu0", Device: "GPU-gpu0", Total: 80 * gib, Bytes: 40 * gib}}
			plan, err := adapter.Plan(t.Context(), m)
			if got := apierr.From(err); err == nil || got.Reason != apierr.InvalidArgument || got.Field != "spec.parameters."+parameter {
				t.Errorf("%s=%q: got %v, %v", parameter, value, plan, err)
			}
		}
	}
}
