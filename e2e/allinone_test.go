//go:build real

package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/e2e/scenario"
)

// startAllInOne runs bin/poterne up on free ports and waits until it would
// serve a chat.
func startAllInOne(t *testing.T, dataDir string, args ...string) (scenario.Target, *process.Process) {
	t.Helper()
	ports, err := process.FreePorts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	for _, dir := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(state, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	http, grpc, ops := address(ports[0]), address(ports[1]), address(ports[2])
	p := process.New(process.Spec{
		Name: "poterne", Path: filepath.Join(binDir(t), "poterne"),
		Args:  append([]string{"up", "--data-dir", dataDir, "--http-addr", http, "--grpc-addr", grpc, "--ops-addr", ops}, args...),
		Ready: process.HTTPReady("http://"+ops+"/readyz", nil),
	}, state)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logTail(t, p.LogPath())
		}
	})
	if err := p.Start(ctx); err != nil {
		logTail(t, p.LogPath())
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dataDir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dataDir, "admin.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin.key: %v, %v; want mode 0600", info, err)
	}
	return scenario.Target{URL: "http://" + http, OpsURL: "http://" + ops, GRPCAddr: grpc, AdminKey: trim(key)}, p
}

// TestRealAllInOne runs every scenario against one process with real models.
func TestRealAllInOne(t *testing.T) {
	dataDir := t.TempDir()
	g, p := startAllInOne(t, dataDir)
	g.ChatModel, g.EmbeddingModel, g.Dimensions = "smollm2-135m", "multilingual-e5-small", 384
	t.Run("openai", func(t *testing.T) { scenario.OpenAI(t, g) })
	t.Run("search", func(t *testing.T) { scenario.Search(t, g) })
	t.Run("keys", func(t *testing.T) { scenario.Keys(t, g) })
	t.Run("audit", func(t *testing.T) { scenario.Audit(t, g) })
	t.Run("registry", func(t *testing.T) { scenario.Registry(t, g) })
	t.Run("variants", func(t *testing.T) { scenario.Variants(t, g) })
	t.Run("bad input", func(t *testing.T) { scenario.BadInput(t, g) })
	t.Run("openai sdk", func(t *testing.T) { scenario.PythonSDK(t, g, "sdk/check_openai.py") })
	t.Run("anthropic sdk", func(t *testing.T) { scenario.PythonSDK(t, g, "sdk/check_anthropic.py") })
	t.Run("openai sdk on node", func(t *testing.T) { scenario.NodeSDK(t, g, "sdk/check_openai.mjs") })
	t.Run("anthropic sdk on node", func(t *testing.T) { scenario.NodeSDK(t, g, "sdk/check_anthropic.mjs") })
	t.Run("mcp on node", func(t *testing.T) { scenario.MCP(t, g) })
	t.Run("grpcurl", func(t *testing.T) { scenario.GRPCurl(t, g) })
	t.Run("documentation", func(t *testing.T) { documentation(t, g) })

	// What was written is there after a stop and a start on the same directory.
	g.Call(t, http.MethodPost, "/v1/collections", map[string]any{"id": "kept"}, http.StatusOK)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	again, _ := startAllInOne(t, dataDir)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("ready after %v with everything cached; the bound is 3 s", took)
	} else {
		t.Logf("ready after %v", took)
	}
	again.AdminKey = g.AdminKey
	again.Call(t, http.MethodGet, "/v1/collections/kept", nil, http.StatusOK)
}

// TestRealTensors serves a scikit-learn model with MLServer to tritonclient and
// kserve.
func TestRealTensors(t *testing.T) {
	mlserver := os.Getenv("POTERNE_MLSERVER")
	if mlserver == "" {
		t.Fatal("POTERNE_MLSERVER is not set: scripts/components.sh env says it")
	}
	// The simulated engines bring no parts: the worker finds this one in PATH.
	t.Setenv("PATH", filepath.Dir(mlserver)+string(os.PathListSeparator)+os.Getenv("PATH"))
	g, _ := startAllInOne(t, t.TempDir(), "--engine", "sim")
	scenario.Tensors(t, g, "sdk/check_tritonclient.py", "sdk/check_kserve.py")
}

// TestRealAllInOneSim runs the scenarios that need no real model against the
// simulated engine, kills the process without warning, and looks for orphans.
func TestRealAllInOneSim(t *testing.T) {
	dataDir := t.TempDir()
	g, p := startAllInOne(t, dataDir, "--engine", "sim")
	g.ChatModel, g.EmbeddingModel, g.Dimensions = "sim-chat", "sim-embedding", 384
	t.Run("openai", func(t *testing.T) { scenario.OpenAI(t, g) })
	t.Run("keys", func(t *testing.T) { scenario.Keys(t, g) })
	t.Run("tokens", func(t *testing.T) { scenario.Tokens(t, g) })
	t.Run("registry", func(t *testing.T) { scenario.Registry(t, g) })
	t.Run("variants", func(t *testing.T) { scenario.Variants(t, g) })
	t.Run("saturation", func(t *testing.T) { scenario.Saturation(t, g) })
	t.Run("tools on node", func(t *testing.T) { scenario.NodeSDK(t, g, "sdk/check_tools.mjs") })
	g.Call(t, http.MethodPost, "/v1/collections", map[string]any{"id": "kept"}, http.StatusOK)
	scenario.Conversation(t, g, "talk")
	children := childrenOf(t, p.Pid())
	if len(children) == 0 {
		t.Error("no engine process was found")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, children)
	again, _ := startAllInOne(t, dataDir, "--engine", "sim")
	again.AdminKey = g.AdminKey
	again.Call(t, http.MethodGet, "/v1/collections/kept", nil, http.StatusOK)
	again.Call(t, http.MethodGet, "/v1/conversations/talk", nil, http.StatusOK)
}

func documentation(t *testing.T, g scenario.Target) {
	v := g.Call(t, http.MethodGet, "/openapi.json", nil, http.StatusOK).JSON(t)
	for _, path := range []string{
		"/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/collections", "/v1/collections/{collection}:search",
		"/v1/registry/models", "/v1/admin/api-keys", "/v1/admin/audit",
	} {
		if scenario.Path(v, "paths", path) == nil {
			t.Errorf("openapi.json does not know %s", path)
		}
	}
	a, err := g.Do(t.Context(), http.MethodGet, "/docs", "", nil)
	if err != nil || a.Status != http.StatusOK {
		t.Errorf("/docs: %v, HTTP %d", err, a.Status)
	}
}
