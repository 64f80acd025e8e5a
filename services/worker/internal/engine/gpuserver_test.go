package engine

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func modelFiles() []File {
	return []File{
		{Role: RoleWeights, Path: "/models/m/model.safetensors", SizeBytes: 4 << 30},
		{Role: "tokenizer", Path: "/models/m/tokenizer.json", SizeBytes: 1 << 20},
	}
}

func gpuModel(kind string, parameters map[string]string) Model {
	spec := chatSpec(kind, 4096)
	spec.Parameters = parameters
	return Model{Name: "m@v1", Spec: spec, Files: modelFiles()}
}

func TestVLLMCommand(t *testing.T) {
	program := thisProgram(t)
	v := NewVLLM(GPUServerConfig{Program: program, Slots: 64, Queue: 100, ExtraParameters: []string{"swap-space"}})
	plan, err := v.Plan(t.Context(), gpuModel(KindVLLM, map[string]string{
		"tensor-parallel-size": "2", "gpu-memory-utilization": "0.85", "quantization": "awq", "enable-prefix-caching": "false",
		"enforce-eager": "", "swap-space": "4", "query-prefix": "q: ",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := "serve /models/m --host=127.0.0.1 --served-model-name=m@v1 --max-num-seqs=64 --max-model-len=4096 --no-enable-prefix-caching" +
		" --enforce-eager --gpu-memory-utilization=0.85 --quantization=awq --swap-space=4 --tensor-parallel-size=2 --port=77"
	if got := strings.Join(plan.Command.Args(77), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if plan.Slots != 64 || plan.MaxInFlight != 164 || plan.ContextLength != 4096 || len(plan.MemoryBytes) != 2 || plan.MemoryBytes["gpu1"] != 3<<30 {
		t.Errorf("plan %+v", plan)
	}
}

func TestSGLangCommand(t *testing.T) {
	program := thisProgram(t)
	program.argv = append(program.argv, "-m", "sglang.launch_server")
	s := NewSGLang(GPUServerConfig{Program: program, Slots: 32, Queue: 10, CPU: true})
	m := gpuModel(KindSGLang, map[string]string{"mem-fraction-static": "0.8", "max-running-requests": "16", "memory-bytes": "12345"})
	m.Spec.Task = commonv1.Task_TASK_EMBEDDING
	plan, err := s.Plan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := "-m sglang.launch_server --model-path=/models/m --host=127.0.0.1 --served-model-name=m@v1 --max-running-requests=16" +
		" --enable-metrics --context-length=4096 --is-embedding --device=cpu --mem-fraction-static=0.8 --port=77"
	if got := strings.Join(plan.Command.Args(77), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if plan.Slots != 16 || len(plan.MemoryBytes) != 1 || plan.MemoryBytes[PoolCPU] != 12345 {
		t.Errorf("plan %+v", plan)
	}
}

// Both read a model alike.
func TestGPUServersRefuse(t *testing.T) {
	for _, hub := range []bool{false, true} {
		cfg := GPUServerConfig{Program: thisProgram(t), Slots: 4, Hub: hub}
		for _, adapter := range []Adapter{NewVLLM(cfg), NewSGLang(cfg)} {
			for _, tt := range []struct {
				name       string
				parameters map[string]string
				files      []File
				hub, ours  string // the field that is at fault; empty when none
			}{
				{"files", nil, modelFiles(), "", ""},
				{"nothing", nil, nil, "spec.parameters.model", "spec.artifacts"},
				{"a model of the hub", map[string]string{"model": "owner/name", "memory-bytes": "1"}, nil, "", "spec.artifacts"},
				{"of unknown size", map[string]string{"model": "owner/name"}, nil, "spec.parameters.memory-bytes", "spec.artifacts"},
				{"a path", map[string]string{"model": "/etc/passwd", "memory-bytes": "1"}, nil, "spec.parameters.model", "spec.artifacts"},
				{"a way up", map[string]string{"model": "../x", "memory-bytes": "1"}, nil, "spec.parameters.model", "spec.artifacts"},
				{"a flag", map[string]string{"model": "--trust-remote-code", "memory-bytes": "1"}, nil, "spec.parameters.model", "spec.artifacts"},
				{"both", map[string]string{"model": "owner/name"}, modelFiles(), "spec.parameters.model", "spec.parameters.model"},
				{"no weights", nil, modelFiles()[1:], "spec.artifacts", "spec.artifacts"},
				{"two directories", nil, append(modelFiles(), File{Role: "tokenizer", Path: "/else/x"}), "spec.artifacts", "spec.artifacts"},
				{"code", map[string]string{"trust-remote-code": ""}, modelFiles(), "spec.parameters.trust-remote-code", "spec.parameters.trust-remote-code"},
				{"an address", map[string]string{"host": "0.0.0.0"}, modelFiles(), "spec.parameters.host", "spec.parameters.host"},
				{"a key", map[string]string{"api-key": "x"}, modelFiles(), "spec.parameters.api-key", "spec.parameters.api-key"},
				{"a template", map[string]string{"chat-template": "/x"}, modelFiles(), "spec.parameters.chat-template", "spec.parameters.chat-template"},
				{"too many GPUs", map[string]string{"tensor-parallel-size": "1000"}, modelFiles(), "spec.parameters.tensor-parallel-size", "spec.parameters.tensor-parallel-size"},
			} {
				want := tt.ours
				if hub {
					want = tt.hub
				}
				m := gpuModel(adapter.Kind(), tt.parameters)
				m.Files = tt.files
				_, err := adapter.Plan(t.Context(), m)
				if e := apierr.From(err); (e == nil) != (want == "") || e != nil && (e.Field != want || e.Reason != apierr.InvalidArgument) {
					t.Errorf("%s, hub %v, %s: %v, want %q", adapter.Kind(), hub, tt.name, err, want)
				}
			}
		}
	}
}

func TestGGUFIsGivenAsAFile(t *testing.T) {
	m := gpuModel(KindVLLM, nil)
	m.Files = []File{{Role: RoleWeights, Path: "/models/m.gguf", SizeBytes: 1}}
	plan, err := NewVLLM(GPUServerConfig{Program: thisProgram(t), Slots: 1}).Plan(t.Context(), m)
	if err != nil || plan.Command.Args(1)[1] != "/models/m.gguf" {
		t.Errorf("got %v, %v", plan, err)
	}
}
