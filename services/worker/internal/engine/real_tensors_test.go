//go:build real

package engine

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// trained trains the small model that comes with MLServer's scikit-learn.
func trained(t *testing.T, mlserver string) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iris.joblib")
	out, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(mlserver), "train-sklearn"), path).CombinedOutput()
	if err != nil {
		t.Fatalf("train: %v: %s", err, out)
	}
	return File{Role: RoleWeights, Path: path, SizeBytes: 1000}
}

func TestRealMLServer(t *testing.T) {
	path := variable(t, "POTERNE_MLSERVER")
	a := NewMLServer(TensorConfig{Program: NewProgram(path), Slots: 4, Queue: 8})
	plan, err := a.Plan(t.Context(), tensorModel(KindMLServer, map[string]string{"inputs": "x:FP64[-1,2]", "outputs": "predict:INT64[-1,1]"}, trained(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), testkit.FreePorts(t, 1)[0]
	if err := plan.Command.Setup(dir, port); err != nil {
		t.Fatal(err)
	}
	e := plan.Connect(port)
	t.Cleanup(e.Close)
	testkit.Start(t, testkit.Command{Name: "mlserver", Path: plan.Command.Path, Args: plan.Command.Args(port), Dir: dir, Ready: e.Health})

	tensorContract(t, e, 1) // models of scikit-learn answer once
	te, ok := e.(TensorEngine)
	if !ok {
		t.Fatalf("%T serves no tensors", e)
	}
	// A setosa, a versicolor, a virginica.
	resp, err := te.Infer(t.Context(), rows(1.4, 0.2, 4.2, 1.3, 6.0, 2.5))
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetOutputs()[0].GetContents().GetInt64Contents(); len(got) != 3 || got[0] != 0 || got[1] != 1 || got[2] != 2 {
		t.Errorf("predicted %v", resp)
	}
	// What it takes although the model declares something else is not refused.
	other := &oip.ModelInferRequest{Inputs: []*oip.ModelInferRequest_InferInputTensor{{
		Name: "input-0", Datatype: "FP32", Shape: []int64{1, 2}, Contents: &oip.InferTensorContents{Fp32Contents: []float32{1.4, 0.2}},
	}}}
	if resp, err = te.Infer(t.Context(), other); err != nil || resp.GetOutputs()[0].GetContents().GetInt64Contents()[0] != 0 {
		t.Errorf("another name and type: %v, %v", resp, err)
	}
	raw := rows(1.4, 0.2)
	raw.Inputs[0].Contents, raw.RawInputContents = nil, [][]byte{{0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0xf6, 0x3f, 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xc9, 0x3f}}
	if resp, err = te.Infer(t.Context(), raw); err != nil || len(resp.GetRawOutputContents()) != 1 || string(resp.GetRawOutputContents()[0]) != "\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("raw contents: %v, %v", resp, err)
	}
}

// TestRealMLServerRepository loads and unloads by the repository extension, on a
// server that runs already.
func TestRealMLServerRepository(t *testing.T) {
	path := variable(t, "POTERNE_MLSERVER")
	own := NewMLServer(TensorConfig{Program: NewProgram(path), Slots: 4})
	plan, err := own.Plan(t.Context(), tensorModel(KindMLServer, nil, trained(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), testkit.FreePorts(t, 1)[0]
	if err := plan.Command.Setup(dir, port); err != nil {
		t.Fatal(err)
	}
	theirs := plan.Connect(port)
	t.Cleanup(theirs.Close)
	testkit.Start(t, testkit.Command{Name: "mlserver", Path: plan.Command.Path, Args: plan.Command.Args(port), Dir: dir, Ready: theirs.Health})
	client, ok := theirs.(*tensorClient)
	if !ok {
		t.Fatalf("%T is no client", theirs)
	}
	unload := &oip.RepositoryModelUnloadRequest{ModelName: "iris"}
	if _, err := client.rpc.RepositoryModelUnload(t.Context(), unload); err != nil {
		t.Fatal(err)
	}
	a := NewMLServer(TensorConfig{Endpoints: map[string]TensorEndpoint{"m": {Address: client.target.address, Slots: 2, Repository: true}}})
	e := attached(t, a, map[string]string{"endpoint": "m"})
	if err := e.Health(t.Context()); err != nil {
		t.Fatalf("not loaded: %v", err)
	}
	if _, err := client.Infer(t.Context(), rows(1.4, 0.2)); err != nil {
		t.Errorf("loaded, and does not answer: %v", err)
	}
	e.Close()
	if err := client.Health(t.Context()); err == nil {
		t.Error("not unloaded")
	}
}
