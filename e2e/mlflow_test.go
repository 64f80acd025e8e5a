//go:build real

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/e2e/scenario"
)

// TestRealMLflow moves a registry in from a real MLflow, serves what came, and has
// MLflow's own client read and write the registry.
func TestRealMLflow(t *testing.T) {
	python := os.Getenv("POTERNE_MLFLOW")
	if python == "" {
		t.Fatal("POTERNE_MLFLOW is not set: run scripts/components.sh mlflow")
	}
	store := t.TempDir()
	tracking := startMLflow(t, python, store)
	run(t, []string{"MLFLOW_TRACKING_URI=" + tracking}, python, "sdk/log_mlflow.py")

	g, _ := startAllInOne(t, t.TempDir(), "--engine", "sim", "--read-sources", filepath.Join(store, "artifacts"))
	poterne := func(args ...string) []map[string]any {
		t.Helper()
		out := run(t, []string{"POTERNE_URL=" + g.URL, "POTERNE_API_KEY=" + g.AdminKey}, filepath.Join(binDir(t), "poterne"),
			append([]string{"registry", "import", "mlflow", "--tracking-uri", tracking, "-o", "json"}, args...)...)
		var report []map[string]any
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return report
	}
	outcomes := func(report []map[string]any) string {
		var out []string
		for _, item := range report {
			outcome, _ := item["outcome"].(string)
			out = append(out, outcome)
		}
		return strings.Join(out, ", ")
	}
	const made = "created, created, created, created, created, skipped" // a model, two versions, an alias; the odd one
	if got := outcomes(poterne("--dry-run")); got != strings.ReplaceAll(made, "created", "would be created") {
		t.Errorf("a dry run says %s", got)
	}
	if got := outcomes(poterne()); got != made {
		t.Errorf("the import says %s", got)
	}
	if got := outcomes(poterne()); got != strings.ReplaceAll(made, "created", "unchanged") {
		t.Errorf("the same again says %s", got)
	}
	imported(t, g)

	models, err := filepath.Glob(filepath.Join(store, "artifacts", "*", "models", "*", "artifacts", "model.pkl"))
	if err != nil || len(models) != 2 {
		t.Fatalf("MLflow has the models %v, %v", models, err)
	}
	run(t, []string{"POTERNE_URL=" + g.URL, "POTERNE_API_KEY=" + g.AdminKey, "MLFLOW_MODEL_DIR=" + filepath.Dir(models[0])},
		python, "sdk/check_mlflow.py")
}

// imported looks at what came.
func imported(t *testing.T, g scenario.Target) {
	t.Helper()
	model := g.Call(t, "GET", "/v1/registry/models/iris-kinds", nil, 200).JSON(t)
	if model["display_name"] != "Iris Kinds" || model["card"] != "# Iris\nThree kinds." {
		t.Errorf("the model is %v", model)
	}
	v := g.Call(t, "GET", "/v1/registry/models/iris-kinds/versions/1", nil, 200).JSON(t)
	spec, _ := v["spec"].(map[string]any)
	labels, _ := v["labels"].(map[string]any)
	metrics, _ := v["metrics"].(map[string]any)
	if spec["engine"] != "mlserver" || labels["checked"] != "yes" || labels["param/c"] != "1.0" || metrics["accuracy"] == nil ||
		v["description"] != "the first one" {
		t.Errorf("the version is %v", v)
	}
	if a := g.Call(t, "GET", "/v1/registry/models/iris-kinds/aliases/champion", nil, 200).JSON(t); fmt.Sprint(a["version"]) != "2" {
		t.Errorf("the alias is %v", a)
	}
}

func startMLflow(t *testing.T, python, store string) string {
	t.Helper()
	ports, err := process.FreePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + address(ports[0])
	state := t.TempDir()
	for _, dir := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(state, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := process.New(process.Spec{
		Name: "mlflow", Path: python,
		Args: []string{
			"-m", "mlflow", "server", "--host", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--workers", "1",
			"--backend-store-uri", "sqlite:///" + filepath.Join(store, "mlflow.db"), "--artifacts-destination", filepath.Join(store, "artifacts"),
		},
		Env: mlflowEnv(), Ready: process.HTTPReady(url+"/health", nil),
	}, state)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logTail(t, p.LogPath())
		}
	})
	if err := p.Start(t.Context()); err != nil {
		logTail(t, p.LogPath())
		t.Fatal(err)
	}
	return url
}

// mlflowEnv keeps MLflow from telling its makers, and from asking the network.
func mlflowEnv() []string { return []string{"MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true"} }

// run runs a program to its end and returns what it wrote to its output.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = slices.Concat(os.Environ(), mlflowEnv(), env)
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}
