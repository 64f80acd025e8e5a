package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

var twoGPUs = []GPU{{Pool: "gpu1", Device: "GPU-b"}, {Pool: "gpu3", Device: "GPU-d"}}

// What is read of the files decides where a model fits; what the spec says goes
// before it.
func TestGPUServersSayHowLargeAModelIs(t *testing.T) {
	cfg := GPUServerConfig{Program: thisProgram(t), Slots: 64}
	const perToken = 2 * 32 * 8 * 128 * 2 // of llamaConfig
	for name, tt := range map[string]struct {
		adapter    Adapter
		parameters map[string]string
		context    int32
		noConfig   bool
		want       Size
	}{
		"by its headers": {
			NewVLLM(cfg), nil, 1024, false,
			Size{Host: transformerHost, Shared: 2<<20 + 1024*perToken, Each: transformerEach, Heads: 32, Greedy: true},
		},
		"as long as it was trained for": {
			NewSGLang(cfg), nil, 0, false,
			Size{Host: transformerHost, Shared: 2<<20 + 8192*perToken, Each: transformerEach, Heads: 32, Greedy: true},
		},
		"a smaller cache": {
			NewVLLM(cfg),
			map[string]string{"kv-cache-dtype": "fp8_e5m2"},
			1024, false,
			Size{Host: transformerHost, Shared: 2<<20 + 1024*perToken/2, Each: transformerEach, Heads: 32, Greedy: true},
		},
		"as the spec says": {
			NewVLLM(cfg),
			map[string]string{"memory-bytes": "1000"},
			1024, false,
			Size{Host: transformerHost, Shared: 1000, Heads: 32, Greedy: true},
		},
		"on so many": {
			NewVLLM(cfg),
			map[string]string{"tensor-parallel-size": "2", "pipeline-parallel-size": "3"},
			1024, false,
			Size{Host: transformerHost, Shared: 2<<20 + 1024*perToken, Each: transformerEach, Exactly: 6, Greedy: true},
		},
		"copies of it": {
			NewSGLang(cfg),
			map[string]string{"data-parallel-size": "3"},
			1024, false,
			Size{Host: transformerHost, Shared: 3 * (2<<20 + 1024*perToken), Each: transformerEach, Exactly: 3, Greedy: true},
		},
		"weights alone": {
			NewVLLM(cfg), nil, 1024, true,
			Size{Host: transformerHost, Shared: 4<<20/4*5 + runtimeMemory, Exactly: 1, Greedy: true},
		},
		"on the CPU": {NewVLLM(GPUServerConfig{Program: cfg.Program, Slots: 4, CPU: true}), nil, 1024, false, Size{}},
	} {
		m := hfModel(t, 1<<20)
		m.Spec.Engine, m.Spec.Parameters, m.Spec.ContextLength = tt.adapter.Kind(), tt.parameters, tt.context
		if tt.noConfig {
			m.Files = m.Files[:2]
			m.Files[0].SizeBytes, m.Files[1].SizeBytes = 2<<20, 2<<20
		}
		sizer, ok := tt.adapter.(Sizer)
		if !ok {
			t.Fatalf("%s: %T is no sizer", name, tt.adapter)
		}
		if got, err := sizer.Size(t.Context(), m); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	bad := hfModel(t, 1<<20)
	bad.Files[2].Path = bad.Files[0].Path // weights are no config.json
	bad.Spec.Parameters = nil
	if _, err := NewVLLM(cfg).Size(t.Context(), bad); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("a config.json that cannot be read: %v", err)
	}
}

// The engine sees the GPUs that it is given, and is told how to use them unless
// the spec says.
func TestGPUServersAreGivenGPUs(t *testing.T) {
	cfg := GPUServerConfig{Program: thisProgram(t), Slots: 64}
	for name, tt := range map[string]struct {
		adapter    Adapter
		parameters map[string]string
		gpus       []GPU
		want       string // a part of the command line; after ! what must not be
	}{
		"one":           {NewVLLM(cfg), nil, twoGPUs[:1], "!tensor-parallel"},
		"two":           {NewVLLM(cfg), nil, twoGPUs, "--tensor-parallel-size=2"},
		"stages":        {NewVLLM(cfg), map[string]string{"pipeline-parallel-size": "2"}, twoGPUs, "!tensor-parallel"},
		"two of SGLang": {NewSGLang(cfg), nil, twoGPUs, "--tp-size=2"},
		"as it says":    {NewSGLang(cfg), map[string]string{"tensor-parallel-size": "2"}, twoGPUs, "!tp-size"},
	} {
		m := hfModel(t, 1<<20)
		m.Spec.Engine, m.Spec.Parameters, m.GPUs = tt.adapter.Kind(), tt.parameters, tt.gpus
		plan, err := tt.adapter.Plan(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		args := strings.Join(plan.Command.Args(1), " ")
		not, negative := strings.CutPrefix(tt.want, "!")
		if strings.Contains(args, not) == negative {
			t.Errorf("%s: %s, want %s", name, args, tt.want)
		}
		visible := "CUDA_VISIBLE_DEVICES=" + cudaNames(tt.gpus)
		if env := plan.Command.Environment(1); !slices.Contains(env, visible) {
			t.Errorf("%s: environment %q, want %s", name, env, visible)
		}
		if n := len(plan.MemoryBytes); n != len(tt.gpus)+1 || plan.MemoryBytes["gpu1"] <= transformerEach {
			t.Errorf("%s: memory %v", name, plan.MemoryBytes)
		}
	}
}

func cudaNames(gpus []GPU) string {
	names := make([]string, len(gpus))
	for i, g := range gpus {
		names[i] = g.Device
	}
	return strings.Join(names, ",")
}

func TestOllamaIsGivenGPUs(t *testing.T) {
	cfg := OllamaConfig{Program: thisProgram(t), Slots: 2, Queue: 8}
	m := ollamaSpec("llama3.2:1b", 512)
	m.Spec.Parameters[parameterMemory] = "1000"
	size, err := NewOllama(cfg).Size(t.Context(), m)
	if err != nil || size.Shared != 1000 || !size.Splits(3) {
		t.Fatalf("got %+v, %v", size, err)
	}
	m.GPUs = twoGPUs
	plan, err := NewOllama(cfg).Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	env := plan.Command.Environment(1)
	if !slices.Contains(env, "CUDA_VISIBLE_DEVICES=GPU-b,GPU-d") || !slices.Contains(env, "OLLAMA_SCHED_SPREAD=1") || plan.MemoryBytes["gpu3"] != 500 {
		t.Errorf("environment %q, memory %v", env, plan.MemoryBytes)
	}
	for name, elsewhere := range map[string]OllamaConfig{
		"shared": {URL: "http://127.0.0.1:1", Slots: 2}, "CPU": {Program: cfg.Program, Slots: 2, CPU: true},
	} {
		m.GPUs = nil
		if size, err := NewOllama(elsewhere).Size(t.Context(), m); err != nil || size.Shared != 0 {
			t.Errorf("%s: %+v, %v", name, size, err)
		}
	}
	delete(m.Spec.Parameters, parameterMemory)
	if _, err := NewOllama(cfg).Size(t.Context(), m); apierr.From(err).Field != "spec.parameters.memory-bytes" {
		t.Errorf("of unknown size: %v", err)
	}
}
