package scenario

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/e2e/process"
)

func poll(t *testing.T, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), CallTimeout)
	defer cancel()
	if err := process.Poll(ctx, func(context.Context) error { return try() }); err != nil {
		t.Fatal(err)
	}
}

// BadInput sends rubbish: every answer is the right 4xx in the right shape,
// names the field, and carries the request id.
func BadInput(t *testing.T, g Target) {
	long := strings.Repeat("many words that do not fit. ", 30000)
	chat, search := "/v1/chat/completions", "/v1/collections/none:search"
	tests := []struct {
		name, method, path string
		key                string
		body               any
		status             int
		says               string
	}{
		{"malformed JSON", "POST", chat, g.AdminKey, []byte(`{"model": "x", `), 400, ""},
		{"not an object", "POST", chat, g.AdminKey, []byte(`[]`), 400, ""},
		{"empty body", "POST", chat, g.AdminKey, []byte(``), 400, ""},
		{"trailing garbage", "POST", chat, g.AdminKey, []byte(`{"model":"x","messages":[]} {}`), 400, ""},
		{"a wrong type", "POST", chat, g.AdminKey, []byte(`{"model":"x","messages":[{"role":5,"content":"hi"}]}`), 400, "messages[0].role"},
		{"a wrong role", "POST", chat, g.AdminKey, []byte(`{"model":"x","messages":[{"role":"king","content":"hi"}]}`), 400, "messages[0].role"},
		{"no messages", "POST", chat, g.AdminKey, []byte(`{"model":"x"}`), 400, "messages"},
		{"no model", "POST", chat, g.AdminKey, []byte(`{"messages":[{"role":"user","content":"hi"}]}`), 400, "model"},
		{"temperature out of range", "POST", chat, g.AdminKey, map[string]any{"model": g.ChatModel, "messages": User("hi"), "temperature": 9}, 400, "temperature"},
		{"unknown model", "POST", chat, g.AdminKey, map[string]any{"model": "no-such-model", "messages": User("hi")}, 404, "no-such-model"},
		{"unknown alias", "POST", chat, g.AdminKey, map[string]any{"model": g.ChatModel + "@nobody", "messages": User("hi")}, 404, "nobody"},
		{"unknown model, streamed", "POST", chat, g.AdminKey, map[string]any{"model": "no-such-model", "messages": User("hi"), "stream": true}, 404, "no-such-model"},
		{"chat with an embedding model", "POST", chat, g.AdminKey, map[string]any{"model": g.EmbeddingModel, "messages": User("hi")}, 400, "model"},
		{"embed with a chat model", "POST", "/v1/embeddings", g.AdminKey, map[string]any{"model": g.ChatModel, "input": "hi"}, 400, "model"},
		{"a longer context than the model's", "POST", chat, g.AdminKey, map[string]any{"model": g.ChatModel, "messages": User(long)}, 400, "context"},
		{"no key", "POST", chat, "", map[string]any{"model": g.ChatModel, "messages": User("hi")}, 401, ""},
		{"a wrong key", "POST", chat, "nonsense", map[string]any{"model": g.ChatModel, "messages": User("hi")}, 401, ""},
		{"a body over the limit", "POST", chat, g.AdminKey, []byte(`{"x":"` + strings.Repeat("y", 40<<20) + `"}`), 413, ""},
		{"wrong method", "GET", chat, g.AdminKey, nil, 405, ""},
		{"unknown path", "GET", "/v1/nothing", g.AdminKey, nil, 404, ""},
		{"unknown member", "POST", search, g.AdminKey, []byte(`{"query":"x","topk":3}`), 400, "topk"},
		{"a wrong type in a search", "POST", search, g.AdminKey, []byte(`{"query":"x","top_k":"many"}`), 400, "top_k"},
		{"out of range", "POST", search, g.AdminKey, []byte(`{"query":"x","top_k":100000}`), 400, "top_k"},
		{"unknown collection", "POST", search, g.AdminKey, []byte(`{"query":"x"}`), 404, "none"},
		{"a bad id", "POST", "/v1/collections", g.AdminKey, []byte(`{"id":"No Spaces"}`), 400, "id"},
		{"a bad page token", "GET", "/v1/collections?page_token=!!", g.AdminKey, nil, 400, "page_token"},
		{"a bad page size", "GET", "/v1/collections?page_size=x", g.AdminKey, nil, 400, "page_size"},
		{"an unknown version", "GET", "/v1/registry/models/" + g.ChatModel + "/versions/999", g.AdminKey, nil, 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := g.Do(t.Context(), tt.method, tt.path, tt.key, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != tt.status {
				t.Fatalf("HTTP %d, want %d: %s", a.Status, tt.status, a.Body)
			}
			checkShape(t, a, openAIPath(tt.path))
			if !strings.Contains(string(a.Body), tt.says) {
				t.Errorf("the answer does not name %q: %s", tt.says, a.Body)
			}
		})
	}
}

func openAIPath(path string) bool {
	for _, p := range []string{"/v1/chat/", "/v1/completions", "/v1/embeddings", "/v1/models"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

func checkShape(t *testing.T, a Answer, openAI bool) {
	t.Helper()
	if a.Header.Get("x-request-id") == "" {
		t.Error("no x-request-id")
	}
	if strings.Contains(string(a.Body), "goroutine ") || strings.Contains(string(a.Body), ".go:") {
		t.Errorf("a stack trace: %s", a.Body)
	}
	var v map[string]any
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("not JSON: %s", a.Body)
	}
	if openAI {
		if Path(v, "error", "message") == nil || Path(v, "error", "type") == nil || Path(v, "error", "request_id") != a.Header.Get("x-request-id") {
			t.Errorf("not OpenAI's shape: %s", a.Body)
		}
		return
	}
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") || v["title"] == nil || v["status"] != float64(a.Status) || v["request_id"] == nil {
		t.Errorf("not problem+json: %s (%s)", a.Body, a.Header.Get("Content-Type"))
	}
	if a.Status == http.StatusUnauthorized && a.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
}
