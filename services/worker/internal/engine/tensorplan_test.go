package engine

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// program is one that is there.
func program(t *testing.T) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return NewProgram(path)
}

// setUp runs a plan's setup and returns the files it wrote.
func setUp(t *testing.T, plan *Plan, port int) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := plan.Command.Setup(dir, port); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if to, err := os.Readlink(path); err == nil {
			out[name] = "-> " + to
			return nil
		}
		data, err := os.ReadFile(path)
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMLServerPlan(t *testing.T) {
	a := NewMLServer(TensorConfig{Program: program(t), Slots: 4, Queue: 8})
	weights := File{Role: RoleWeights, Path: "/models/iris.joblib", SizeBytes: 1000}
	plan, err := a.Plan(t.Context(), tensorModel(KindMLServer, map[string]string{"inputs": "x:FP64[-1,2]", "slots": "2"}, weights))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Slots != 2 || plan.MaxInFlight != 10 || plan.MemoryBytes[PoolCPU] != mlserverMemory+3000 || !slices.Equal(plan.Command.Args(1), []string{"start", "."}) {
		t.Errorf("the plan is %+v", plan)
	}
	files := setUp(t, plan, 4321)
	for name, parts := range map[string][]string{
		"settings.json":       {`"host": "127.0.0.1"`, `"grpc_port": 4321`, `"metrics_endpoint": null`, `"parallel_workers": 0`},
		"model-settings.json": {`"name": "iris"`, `"implementation": "mlserver_sklearn.SKLearnModel"`, `"uri": "/models/iris.joblib"`, `"datatype": "FP64"`},
	} {
		for _, part := range parts {
			if !strings.Contains(files[name], part) {
				t.Errorf("%s lacks %s:\n%s", name, part, files[name])
			}
		}
	}
}

func TestTritonPlan(t *testing.T) {
	a := NewTriton(TensorConfig{Program: program(t), Slots: 4, Queue: 8})
	weights := File{Role: RoleWeights, Path: "/models/iris.onnx", SizeBytes: 1000}
	plan, err := a.Plan(t.Context(), tensorModel(KindTriton, map[string]string{
		"gpu": "1", "max-batch-size": "8", "inputs": "x:FP64[2]; s:BYTES[-1]", "outputs": "y:INT64[]",
	}, weights))
	if err != nil {
		t.Fatal(err)
	}
	if plan.MemoryBytes[PoolCPU] != tritonMemory || plan.MemoryBytes["gpu1"] != 2000 {
		t.Errorf("memory is %v", plan.MemoryBytes)
	}
	args := strings.Join(plan.Command.Args(4321), " ")
	for _, want := range []string{"--model-control-mode=explicit", "--load-model=iris", "--grpc-port=4321", "--grpc-address=127.0.0.1", "--allow-http=false"} {
		if !strings.Contains(args, want) {
			t.Errorf("%s is not in %s", want, args)
		}
	}
	want := map[string]string{
		"iris/1/model.onnx": "-> /models/iris.onnx",
		"iris/config.pbtxt": "name: \"iris\"\nbackend: \"onnxruntime\"\nmax_batch_size: 8\n" +
			"input [ { name: \"x\" data_type: TYPE_FP64 dims: [ 2 ] } ]\ninput [ { name: \"s\" data_type: TYPE_STRING dims: [ -1 ] } ]\n" +
			"output [ { name: \"y\" data_type: TYPE_INT64 dims: [  ] } ]\ninstance_group [ { kind: KIND_GPU gpus: [ 1 ] } ]\n",
	}
	if got := setUp(t, plan, 0); !maps.Equal(got, want) {
		t.Errorf("wrote %v", got)
	}
}

func TestTensorPlansRefuse(t *testing.T) {
	cfg := TensorConfig{Program: program(t), Slots: 4, Endpoints: map[string]TensorEndpoint{"e": {Address: "127.0.0.1:1", Slots: 1}}}
	weights := File{Role: RoleWeights, Path: "/m"}
	chat := tensorModel(KindMLServer, nil, weights)
	chat.Spec.Task = commonv1.Task_TASK_CHAT
	for name, tt := range map[string]struct {
		adapter Adapter
		model   Model
		field   string
	}{
		"a chat model":         {NewMLServer(cfg), chat, "spec.task"},
		"no weights":           {NewMLServer(cfg), tensorModel(KindMLServer, nil), "spec.artifacts"},
		"two files":            {NewTriton(cfg), tensorModel(KindTriton, nil, weights, weights), "spec.artifacts"},
		"any class of Python":  {NewMLServer(cfg), tensorModel(KindMLServer, map[string]string{"runtime": "os.system"}, weights), "spec.parameters.runtime"},
		"a backend of code":    {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"backend": "python"}, weights), "spec.parameters.backend"},
		"an unknown parameter": {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"http-port": "1"}, weights), "spec.parameters.http-port"},
		"an unknown endpoint":  {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"endpoint": "x"}), "spec.parameters.endpoint"},
		"tensors of no type":   {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"inputs": "x:FP8[1]"}, weights), "spec.parameters.inputs"},
		"tensors of no shape":  {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"inputs": "x:FP32"}, weights), "spec.parameters.inputs"},
		"a negative dimension": {NewTriton(cfg), tensorModel(KindTriton, map[string]string{"outputs": "x:FP32[-2]"}, weights), "spec.parameters.outputs"},
		"no program":           {NewTriton(TensorConfig{Endpoints: cfg.Endpoints}), tensorModel(KindTriton, nil, weights), "spec.parameters.endpoint"},
	} {
		if _, err := tt.adapter.Plan(t.Context(), tt.model); apierr.From(err) == nil || apierr.From(err).Field != tt.field {
			t.Errorf("%s: %v, want the field %s", name, err, tt.field)
		}
	}
	if err := NewTriton(TensorConfig{}).Available(); err == nil {
		t.Error("nothing is configured, and yet available")
	}
	for name, want := range map[string]string{"iris@v1": "iris", "../../etc": "______etc", "": "model", "--flag": "flag", "sha256:ab": "sha256_ab"} {
		if got := localName(Model{Name: name}); got != want {
			t.Errorf("%q becomes %q", name, got)
		}
	}
}
