package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// irisModel is the model of tensors that these scenarios register: petal length
// and width to the kind of iris.
const irisModel = "iris"

// Tensors trains a small scikit-learn model, registers it for MLServer, asks it
// over REST, and runs the packages tritonclient and kserve against the platform:
// scripts are sdk/check_tritonclient.py and sdk/check_kserve.py. Each needs a
// process of its own, for both bring the protocol's messages.
func Tensors(t *testing.T, g Target, scripts ...string) {
	g.registerIris(t)
	poll(t, func() error {
		a, err := g.Do(t.Context(), http.MethodGet, "/v2/models/"+irisModel+"/ready", g.AdminKey, nil)
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("HTTP %d: %s", a.Status, a.Body)
		}
		return err
	})
	// A setosa, a versicolor, a virginica.
	input := map[string]any{"name": "x", "datatype": "FP64", "shape": []int{3, 2}, "data": [][]float64{{1.4, 0.2}, {4.2, 1.3}, {6, 2.5}}}
	a := g.Call(t, http.MethodPost, "/v2/models/"+irisModel+"/infer", map[string]any{"id": "7", "inputs": []any{input}}, http.StatusOK)
	v := a.JSON(t)
	if v["model_name"] != irisModel || v["model_version"] != "1" || v["id"] != "7" || fmt.Sprint(Path(v, "outputs", 0, "data")) != "[0 1 2]" {
		t.Errorf("the answer is %s", a.Body)
	}
	if got := a.Header.Get("x-poterne-model"); got != irisModel+"@v1" {
		t.Errorf("served by %q", got)
	}
	// What the engine says of tensors that do not fit the model reaches the caller.
	input["shape"], input["data"] = []int{1, 3}, []float64{1, 2, 3}
	a, err := g.Do(t.Context(), http.MethodPost, "/v2/models/"+irisModel+"/infer", g.AdminKey, map[string]any{"inputs": []any{input}})
	if text, _ := a.JSON(t)["error"].(string); err != nil || a.Status < 400 || text == "" {
		t.Errorf("three features: %v, HTTP %d: %s", err, a.Status, a.Body)
	}
	chat := map[string]any{"model": irisModel, "messages": User("Hi.")}
	g.Call(t, http.MethodPost, "/v1/chat/completions", chat, http.StatusBadRequest)

	for _, script := range scripts {
		cmd := exec.CommandContext(t.Context(), mustEnv(t, "POTERNE_INFERENCE_CLIENTS"), script)
		cmd.Env = append(os.Environ(), "POTERNE_URL="+g.URL, "POTERNE_GRPC_ADDR="+g.GRPCAddr, "POTERNE_API_KEY="+g.AdminKey, "POTERNE_TENSOR_MODEL_NAME="+irisModel)
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func (g Target) registerIris(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iris.joblib")
	train := filepath.Join(filepath.Dir(mustEnv(t, "POTERNE_MLSERVER")), "train-sklearn")
	if out, err := exec.CommandContext(t.Context(), train, path).CombinedOutput(); err != nil {
		t.Fatalf("train: %v: %s", err, out)
	}
	weights, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(weights)
	g.Call(t, http.MethodPost, "/v1/registry/models", map[string]any{"name": irisModel}, http.StatusOK)
	base := "/v1/registry/models/" + irisModel
	g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": map[string]any{
		"task": "TASK_TENSOR", "engine": "mlserver",
		"artifacts":  []any{map[string]any{"uri": "file://" + path, "sha256": hex.EncodeToString(sum[:]), "size_bytes": len(weights)}},
		"parameters": map[string]any{"inputs": "x:FP64[-1,2]", "outputs": "predict:INT64[-1,1]"},
	}}, http.StatusOK)
	g.Call(t, http.MethodPut, base+"/aliases/production", map[string]any{"version": 1}, http.StatusOK)
}
