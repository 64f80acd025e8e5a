package scenario

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// Variants keeps other forms of a version's weights in the registry: adds,
// measures, reads and removes them, and has what does not fit refused.
func Variants(t *testing.T, g Target) {
	const model = "with-variants"
	base := "/v1/registry/models/" + model
	spec := func(engine string, size int) map[string]any {
		return map[string]any{
			"task": "TASK_CHAT", "engine": engine, "context_length": 2048,
			"artifacts": []any{map[string]any{"uri": "file:///nowhere/weights", "sha256": strings.Repeat("0", 64), "size_bytes": size}},
		}
	}
	g.Call(t, http.MethodPost, "/v1/registry/models", map[string]any{"name": model}, http.StatusOK)
	// Of two versions, and without an alias, none serves: nothing is loaded.
	version := g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec("sim", 400)}, http.StatusOK).JSON(t)
	g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec("sim", 401)}, http.StatusOK)

	body := map[string]any{
		"variant": "q8_0", "spec": spec("sim", 200),
		"quality": map[string]any{"perplexity": 22, "source_perplexity": 20},
	}
	made := g.Call(t, http.MethodPost, base+"/versions/v1/variants", body, http.StatusOK).JSON(t)
	if loss, _ := Path(made, "quality", "loss").(float64); loss < 0.0999 || loss > 0.1001 || Path(made, "size_bytes") != 200.0 {
		t.Errorf("the variant is %v", made)
	}
	body["quality"] = map[string]any{"perplexity": 30, "source_perplexity": 20}
	measured := g.Call(t, http.MethodPost, base+"/versions/v1/variants", body, http.StatusOK).JSON(t)
	if loss, _ := Path(measured, "quality", "loss").(float64); loss != 0.5 || measured["digest"] != made["digest"] {
		t.Errorf("measured again: %v", measured)
	}
	for name, change := range map[string]map[string]any{
		"other content": {"spec": spec("sim", 201)}, "taken content": {"variant": "other"}, "the version's content": {"spec": spec("sim", 400)},
	} {
		bad := maps.Clone(body)
		maps.Copy(bad, change)
		if a := g.Call(t, http.MethodPost, base+"/versions/v1/variants", bad, http.StatusConflict); !strings.Contains(string(a.Body), "ALREADY_EXISTS") {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	body["variant"] = "base"
	g.Call(t, http.MethodPost, base+"/versions/v1/variants", body, http.StatusBadRequest)

	whole := g.Call(t, http.MethodGet, base+"/versions/1", nil, http.StatusOK).JSON(t)
	if Path(whole, "variants", 0, "name") != "q8_0" || whole["digest"] != version["digest"] {
		t.Errorf("the version is %v", whole)
	}
	list := g.Call(t, http.MethodGet, base+"/versions/1/variants", nil, http.StatusOK).JSON(t)
	if Path(list, "variants", 0, "digest") != made["digest"] {
		t.Errorf("the list is %v", list)
	}
	one := base + "/versions/1/variants/q8_0"
	if got := g.Call(t, http.MethodGet, one, nil, http.StatusOK).JSON(t); got["digest"] != made["digest"] {
		t.Errorf("got %v", got)
	}
	g.Call(t, http.MethodDelete, one, nil, http.StatusOK)
	g.Call(t, http.MethodGet, one, nil, http.StatusNotFound)
	g.Call(t, http.MethodDelete, base, nil, http.StatusOK)
}
