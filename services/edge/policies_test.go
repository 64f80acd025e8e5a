package edge_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// withPolicy opens an edge with more rules than the default ones.
func withPolicy(t *testing.T, lines string) *gate {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.csv")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *edge.Config) { c.Security.Authz.PolicyFile = file })
}

func TestObligationsOfChat(t *testing.T) {
	g := withPolicy(t, `
p, public, own, model, big, chat|complete, true, allow, max_tokens=100 model=small
p, public, own, model, *, chat|complete, true, allow, max_tokens=200 review
`)
	for name, c := range map[string]struct {
		path, body, header string
		want               map[string]any
	}{
		"no bound asked": {chatPath, `"model":"small"`, "max_tokens=200", map[string]any{"max_tokens": 200.0}},
		"too much":       {chatPath, `"model":"small","max_tokens":5000`, "max_tokens=200", map[string]any{"max_tokens": 200.0}},
		"the newer name": {chatPath, `"model":"small","max_completion_tokens":5000`, "max_tokens=200", map[string]any{"max_completion_tokens": 200.0, "max_tokens": nil}},
		"both":           {chatPath, `"model":"small","max_completion_tokens":50,"max_tokens":100000`, "max_tokens=200", map[string]any{"max_completion_tokens": 50.0, "max_tokens": 200.0}},
		"little":         {chatPath, `"model":"small","max_tokens":7`, "", map[string]any{"max_tokens": 7.0}},
		"without end":    {chatPath, `"model":"small","n_predict":-1`, "max_tokens=200", map[string]any{"max_tokens": 200.0, "n_predict": nil}},
		"by the engine's own name": {
			chatPath, `"model":"small","max_tokens":7,"n_predict":9999,"min_tokens":9999`, "max_tokens=200",
			map[string]any{"max_tokens": 7.0, "n_predict": nil, "min_tokens": nil},
		},
		"the smaller of two caps": {chatPath, `"model":"big@v3"`, "max_tokens=100, model=small", map[string]any{"max_tokens": 100.0}},
		"a completion":            {"/v1/completions", `"model":"small"`, "max_tokens=200", map[string]any{"max_tokens": 200.0}},
		"a completion with too much": {
			"/v1/completions", `"model":"small","max_tokens":900,"n_predict":900`, "max_tokens=200",
			map[string]any{"max_tokens": 200.0, "n_predict": nil},
		},
	} {
		for _, stream := range []string{"false", "true"} {
			body := `{` + c.body + `,"stream":` + stream + `,"messages":[{"role":"user","content":"Hi"}]}`
			if c.path != chatPath {
				body = `{` + c.body + `,"stream":` + stream + `,"prompt":"Hi"}`
			}
			a := g.do("POST", c.path, body)
			if a.status != http.StatusOK {
				t.Fatalf("%s: status %d: %s", name, a.status, a.text)
			}
			if got := a.header.Get("X-Poterne-Policy"); got != c.header {
				t.Errorf("%s (stream %s): the caller is told %q, want %q", name, stream, got, c.header)
			}
			got := g.inference.last(t)
			for member, want := range c.want {
				if got[member] != want {
					t.Errorf("%s (stream %s): the engine got %s = %v, want %v", name, stream, member, got[member], want)
				}
			}
		}
	}
	last := g.inference.invoked[len(g.inference.invoked)-1]
	if last.GetModel() != "small" {
		t.Errorf("served by %s", last.GetModel())
	}
}

// TestObligationsWithoutMeaning: what bounds and forces models does not stop what
// neither generates nor is answered by one.
func TestObligationsWithoutMeaning(t *testing.T) {
	g := withPolicy(t, "p, public, own, *, *, *, true, allow, max_tokens=5 model=small\n")
	for _, c := range [][3]string{
		{"GET", "/v1/models", ""},
		{"GET", "/v1/admin/api-keys", ""},
		{"POST", "/v1/collections/c:search", `{"query":"x"}`},
		{"POST", "/v1/embeddings", `{"model":"small","input":"x"}`},
	} {
		if a := g.do(c[0], c[1], c[2]); a.status != http.StatusOK {
			t.Errorf("%s %s: %d: %s", c[0], c[1], a.status, a.text)
		}
	}
	a := g.do("POST", "/v1/collections/c:search", `{"query":"x","rerank":{"model":"other"}}`)
	if a.status != http.StatusForbidden || !strings.Contains(a.text, "cannot be fulfilled") {
		t.Errorf("a search that another model would have to rerank: %d: %s", a.status, a.text)
	}
}

func TestForcedModel(t *testing.T) {
	g := withPolicy(t, `
p, public, own, model, big, chat|embed|rerank, true, allow, model=small
p, public, own, model, closed, *, true, deny
p, public, own, model, other, chat, true, allow, model=closed
p, public, own, model, torn, chat, true, allow, model=small
p, public, own, model, torn, chat, true, allow, model=tiny
p, public, own, model, bare, chat, true, allow, redact
p, public, own, collection, c, search, true, allow, redact
`)
	for model, want := range map[string]struct {
		status int
		text   string
	}{
		"big":   {http.StatusOK, ""},
		"other": {http.StatusForbidden, "closed"},
		"torn":  {http.StatusForbidden, "different models"},
	} {
		before := g.inference.calls()
		a := g.do("POST", chatPath, `{"model":"`+model+`","messages":[{"role":"user","content":"Hi"}]}`)
		if a.status != want.status || !strings.Contains(a.text, want.text) {
			t.Errorf("%s: status %d: %s", model, a.status, a.text)
		}
		if want.status != http.StatusOK && g.inference.calls() != before {
			t.Errorf("%s reached the engine", model)
		}
	}
	if got := g.inference.invoked[0].GetModel(); got != "small" {
		t.Errorf("served by %q", got)
	}
	// Where a policy asks for it the detectors take out what is confidential.
	a := g.do("POST", chatPath, `{"model":"bare","messages":[{"role":"user","content":"I am ada@example.com"}]}`)
	if sent, _ := json.Marshal(g.inference.last(t)); a.status != http.StatusOK || !strings.Contains(string(sent), "I am [REDACTED email]") {
		t.Errorf("redacted: %d %s: the engine got %s", a.status, a.text, sent)
	}
	a = g.do("POST", "/v1/embeddings", `{"model":"big","input":"x"}`)
	if a.status != http.StatusOK || a.header.Get("X-Poterne-Policy") != "model=small" || a.at("model") != "small" {
		t.Errorf("embeddings: %d %v: %s", a.status, a.header, a.text)
	}
	a = g.do("POST", "/v1/collections/c:search", `{"query":"x"}`)
	if a.status != http.StatusForbidden || !strings.Contains(a.text, "cannot be fulfilled") {
		t.Errorf("a search that would have to be redacted: %d: %s", a.status, a.text)
	}
}
