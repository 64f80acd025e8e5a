package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

const modelsPath = "/v1/models"

// anthropic asks as Anthropic's clients do.
func (g *gate) anthropic(path string) answer {
	g.t.Helper()
	return g.do("GET", path, "", "Authorization", "", "X-Api-Key", g.key, "Anthropic-Version", "2023-06-01")
}

func withModels(t *testing.T) *gate {
	t.Helper()
	g := open(t, nil)
	for name, made := range map[string]int64{"old": 100, "new": 300, "vectors": 200} {
		m := &inferencev1.ServedModel{Name: name, Task: commonv1.Task_TASK_CHAT, CreateTime: &timestamppb.Timestamp{Seconds: made}}
		if name == "vectors" {
			m.Task = commonv1.Task_TASK_EMBEDDING
		}
		g.inference.mu.Lock() // the edge asks what is served by itself
		g.inference.others = append(g.inference.others, m)
		g.inference.mu.Unlock()
	}
	return g
}

func TestModelsAsAnthropicHasThem(t *testing.T) {
	g := withModels(t)
	ids := func(query string) string {
		t.Helper()
		a := g.anthropic(modelsPath + query)
		if a.status != http.StatusOK {
			t.Fatalf("%s: HTTP %d: %s", query, a.status, a.text)
		}
		var out []string
		list, _ := a.at("data").([]any)
		for i := range list {
			id, _ := a.at("data", i, "id").(string)
			out = append(out, id)
		}
		if len(out) > 0 && (a.at("first_id") != out[0] || a.at("last_id") != out[len(out)-1]) {
			t.Errorf("%s: %s", query, a.text)
		}
		more, ok := a.at("has_more").(bool)
		if !ok {
			t.Errorf("%s: %s", query, a.text)
		}
		if more {
			out = append(out, "…")
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{
		"":                                    "new old small",
		"?limit=2":                            "new old …",
		"?limit=2&after_id=old":               "small",
		"?limit=1&after_id=new":               "old …",
		"?after_id=small":                     "",
		"?limit=1&before_id=small":            "old …",
		"?before_id=old":                      "new",
		"?lifecycle=retired":                  "",
		"?lifecycle[]=active":                 "new old small",
		"?lifecycle=retired&beta=true":        "",
		"?lifecycle=retired&lifecycle=active": "new old small",
	} {
		if got := ids(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	a := g.anthropic(modelsPath + "/new")
	if a.at("type") != "model" || a.at("id") != "new" || a.at("display_name") != "new" || a.at("created_at") != "1970-01-01T00:05:00Z" || a.at("max_input_tokens") != nil ||
		a.header.Get("Request-Id") == "" || a.header.Get("Vary") != "Anthropic-Version" {
		t.Errorf("%s, %v", a.text, a.header)
	}
	if a := g.anthropic(modelsPath + "/small@stable"); a.at("id") != "small@stable" || a.at("max_input_tokens") != 2048.0 {
		t.Errorf("by an alias: %s", a.text)
	}
	// Without its header they are OpenAI's, and its key is nobody's.
	if a := g.do("GET", modelsPath, ""); a.at("object") != "list" || a.at("data", 0, "object") != "model" {
		t.Errorf("to OpenAI's clients: %s", a.text)
	}
	if a := g.do("GET", modelsPath, "", "Authorization", "", "X-Api-Key", g.key); a.status != http.StatusUnauthorized || a.at("error", "code") == nil || a.at("type") == "error" {
		t.Errorf("its key alone: HTTP %d: %s", a.status, a.text)
	}
}

func TestModelsRefuseAsAnthropicDoes(t *testing.T) {
	g := withModels(t)
	for path, want := range map[string]struct {
		status      int
		kind, field string
	}{
		"/none":                   {http.StatusNotFound, "not_found_error", "model"},
		"/vectors":                {http.StatusNotFound, "not_found_error", "model"},
		"?limit=0":                {http.StatusBadRequest, "invalid_request_error", "limit"},
		"?limit=1001":             {http.StatusBadRequest, "invalid_request_error", "limit"},
		"?limit=x":                {http.StatusBadRequest, "invalid_request_error", "limit"},
		"?after_id=none":          {http.StatusBadRequest, "invalid_request_error", "after_id"},
		"?before_id=vectors":      {http.StatusBadRequest, "invalid_request_error", "before_id"},
		"?before_id=a&after_id=b": {http.StatusBadRequest, "invalid_request_error", "before_id"},
		"?lifecycle=young":        {http.StatusBadRequest, "invalid_request_error", "lifecycle"},
	} {
		a := g.anthropic(modelsPath + path)
		if a.status != want.status || a.at("type") != "error" || a.at("error", "type") != want.kind || a.at("error", "field") != want.field {
			t.Errorf("%s: HTTP %d: %s", path, a.status, a.text)
		}
	}
	a := g.do("GET", modelsPath, "", "Authorization", "", "X-Api-Key", "ptn_x", "Anthropic-Version", "2023-06-01")
	if a.status != http.StatusUnauthorized || a.at("error", "type") != "authentication_error" {
		t.Errorf("a wrong key: HTTP %d: %s", a.status, a.text)
	}
}
