package scenario

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// PythonSDK runs an official Python SDK against the platform: script is one of
// sdk/check_openai.py and sdk/check_anthropic.py.
func PythonSDK(t *testing.T, g Target, script string) {
	python := mustEnv(t, "POTERNE_PYTHON_SDK")
	runSDK(t, g, exec.CommandContext(t.Context(), python, script))
}

// NodeSDK runs official packages for Node.js against the platform: script is one of
// sdk/*.mjs. They find what they import from where they lie, which is therefore a copy
// beside the packages.
func NodeSDK(t *testing.T, g Target, script string) {
	modules, dir := mustEnv(t, "POTERNE_NODE_SDK"), t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{script, "sdk/check.mjs"} {
		content, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	runSDK(t, g, exec.CommandContext(t.Context(), "node", filepath.Join(dir, filepath.Base(script))))
}

// MCP has both official clients of the Model Context Protocol for Node.js use the
// gateway, as an administrator and as somebody of another tenant.
func MCP(t *testing.T, g Target) {
	made := g.Call(t, http.MethodPost, "/v1/admin/api-keys", map[string]any{"name": "mcp", "tenant": "globex", "roles": []string{"reader"}}, http.StatusOK)
	key, ok := Path(made.JSON(t), "key").(string)
	if !ok {
		t.Fatal("no key was made")
	}
	t.Setenv("POTERNE_TEST_STRANGER_KEY", key)
	NodeSDK(t, g, "sdk/check_mcp.mjs")
}

func runSDK(t *testing.T, g Target, cmd *exec.Cmd) {
	t.Helper()
	cmd.Env = append(os.Environ(),
		"POTERNE_URL="+g.URL, "POTERNE_API_KEY="+g.AdminKey, "POTERNE_CHAT_MODEL_NAME="+g.ChatModel,
		"POTERNE_EMBEDDING_MODEL_NAME="+g.EmbeddingModel, "POTERNE_DIMENSIONS="+strconv.Itoa(g.Dimensions))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
}

// GRPCurl lists and calls the edge's services by reflection and asks for its
// health, with the real grpcurl.
func GRPCurl(t *testing.T, g Target) {
	auth := []string{"-H", "authorization: Bearer " + g.AdminKey}
	list := grpcurl(t, g, auth, "list")
	for _, service := range []string{
		"poterne.edge.v1.OpenAIService", "poterne.edge.v1.AdminService", "poterne.search.v1.SearchService",
		"poterne.registry.v1.RegistryService", "grpc.health.v1.Health",
	} {
		if !strings.Contains(list, service) {
			t.Errorf("grpcurl list does not name %s: %s", service, list)
		}
	}
	if got := grpcurl(t, g, auth, "describe", "poterne.edge.v1.OpenAIService"); !strings.Contains(got, "CreateChatCompletion") {
		t.Errorf("grpcurl describe: %s", got)
	}
	body := `{"model":"` + g.ChatModel + `","messages":[{"role":"user","content":{"text":"Say hello."}}],"max_tokens":8}`
	answer := grpcurl(t, g, append(auth, "-d", body), "poterne.edge.v1.OpenAIService/CreateChatCompletion")
	if !strings.Contains(answer, `"role": "assistant"`) || !strings.Contains(answer, "completionTokens") {
		t.Errorf("chat by grpcurl: %s", answer)
	}
	stream := grpcurl(t, g, append(auth, "-d", body), "poterne.edge.v1.OpenAIService/StreamChatCompletion")
	if strings.Count(stream, `"delta"`) < 2 {
		t.Errorf("stream by grpcurl: %s", stream)
	}
	if got := grpcurl(t, g, nil, "grpc.health.v1.Health/Check"); !strings.Contains(got, "SERVING") {
		t.Errorf("health by grpcurl: %s", got)
	}
}

func grpcurl(t *testing.T, g Target, flags []string, call ...string) string {
	t.Helper()
	path := filepath.Join(mustEnv(t, "POTERNE_TOOLS_BIN"), "grpcurl")
	args := append([]string{"-plaintext", "-max-time", "120"}, flags...)
	out, err := exec.CommandContext(t.Context(), path, append(append(args, g.GRPCAddr), call...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("grpcurl %v: %v: %s", call, err, out)
	}
	return string(out)
}

func mustEnv(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run scripts/components.sh real tools, then eval \"$(scripts/components.sh env)\"", name)
	}
	return v
}
