package scenario

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

var handbook = []any{
	document("leave", "Annual leave", "Every employee has twenty-seven days of paid leave a year. Days that are not taken by the end of March are lost.", map[string]any{"year": 2025, "lang": "en"}, nil),
	document("expenses", "Expenses", "Train tickets are paid in second class. Receipts are sent to accounting within thirty days.", map[string]any{"year": 2024, "lang": "en"}, nil),
	document("conges", "Congés", "Chaque salarié a droit à vingt-sept jours de congés payés par an.", map[string]any{"year": 2025, "lang": "fr"}, nil),
	document("salaries", "Salary bands", "The salary of an engineer of the third band is between fifty and sixty thousand.", map[string]any{"year": 2025, "lang": "en"}, []string{"group:finance"}),
}

func document(id, title, text string, metadata map[string]any, principals []string) map[string]any {
	d := map[string]any{"id": id, "title": title, "text": text, "metadata": metadata}
	if principals != nil {
		d["acl"] = map[string]any{"principals": principals}
	}
	return d
}

// Search writes documents, searches them, and answers from them.
func Search(t *testing.T, g Target) {
	c := "handbook-" + suffix(t)
	g.Call(t, http.MethodPost, "/v1/collections", map[string]any{"id": c}, http.StatusOK)
	t.Cleanup(func() {
		if _, err := g.Do(t.Context(), http.MethodDelete, "/v1/collections/"+c, g.AdminKey, nil); err == nil {
			return
		}
	})
	g.Call(t, http.MethodPost, "/v1/collections", map[string]any{"id": c}, http.StatusConflict)

	bad := document("a/b", "Bad id", "text", nil, nil)
	v := g.Call(t, http.MethodPost, "/v1/collections/"+c+"/documents:batchUpsert",
		map[string]any{"documents": append([]any{bad}, handbook...), "refresh": "wait"}, http.StatusOK).JSON(t)
	if Path(v, "results", 0, "status") != "failed" || Path(v, "results", 0, "error", "code") != "INVALID_ARGUMENT" {
		t.Errorf("the bad document: %v", Path(v, "results", 0))
	}
	for i := 1; i <= len(handbook); i++ {
		if Path(v, "results", i, "status") != "created" {
			t.Fatalf("document %d: %v", i, Path(v, "results", i))
		}
	}
	t.Run("modes", func(t *testing.T) { g.searchModes(t, c) })
	t.Run("access lists", func(t *testing.T) { g.searchAccess(t, c) })
	t.Run("filter", func(t *testing.T) { g.searchFilter(t, c) })
	t.Run("cited answer", func(t *testing.T) { g.citedAnswer(t, c) })
	t.Run("context", func(t *testing.T) { g.contextOf(t, c) })
	t.Run("delete", func(t *testing.T) { g.deleteDocument(t, c) })
}

func (g Target) search(t *testing.T, key, collection string, body map[string]any) []any {
	t.Helper()
	v := g.CallAs(t, key, http.MethodPost, "/v1/collections/"+collection+":search", body, http.StatusOK).JSON(t)
	hits, _ := v["hits"].([]any)
	if mode, ok := body["mode"]; ok && v["mode"] != mode {
		t.Errorf("mode %v, want %v (%v)", v["mode"], mode, v["warnings"])
	}
	return hits
}

func ids(hits []any) string {
	out := make([]string, 0, len(hits))
	for _, h := range hits {
		out = append(out, fmt.Sprint(Path(h, "document_id")))
	}
	return strings.Join(out, " ")
}

func (g Target) searchModes(t *testing.T, c string) {
	for mode, query := range map[string]string{"lexical": "receipts accounting", "vector": "how do I get money back for a train journey", "hybrid": "train tickets receipts"} {
		hits := g.search(t, g.AdminKey, c, map[string]any{"query": query, "mode": mode, "top_k": 3, "explain": true})
		if Path(hits, 0, "document_id") != "expenses" {
			t.Errorf("%s: best is %v of %s", mode, Path(hits, 0, "document_id"), ids(hits))
			continue
		}
		if Path(hits, 0, "explanation", "legs", 0, "leg") == nil || Path(hits, 0, "chunk_id") == nil {
			t.Errorf("%s: no explanation in %v", mode, hits[0])
		}
	}
}

func (g Target) searchAccess(t *testing.T, c string) {
	query := map[string]any{"query": "salary of an engineer", "mode": "hybrid", "top_k": 10}
	outsider, _ := g.NewKey(t, map[string]any{"name": "outsider", "roles": []string{"reader"}})
	insider, _ := g.NewKey(t, map[string]any{"name": "insider", "roles": []string{"reader"}, "groups": []string{"finance"}})
	if got := ids(g.search(t, outsider, c, query)); strings.Contains(got, "salaries") || got == "" {
		t.Errorf("the outsider finds %q", got)
	}
	if got := ids(g.search(t, insider, c, query)); !strings.HasPrefix(got, "salaries") {
		t.Errorf("the insider finds %q", got)
	}
	g.CallAs(t, outsider, http.MethodGet, "/v1/collections/"+c+"/documents/salaries", nil, http.StatusNotFound)
	g.CallAs(t, insider, http.MethodGet, "/v1/collections/"+c+"/documents/salaries", nil, http.StatusOK)
}

func (g Target) searchFilter(t *testing.T, c string) {
	hits := g.search(t, g.AdminKey, c, map[string]any{"query": "days of leave congés", "filter": `year >= 2025 AND lang = "fr"`})
	if got := ids(hits); got != "conges" {
		t.Errorf("the filter lets through %q", got)
	}
	a := g.Call(t, http.MethodPost, "/v1/collections/"+c+":search", map[string]any{"query": "x", "filter": "year >>= 2"}, http.StatusBadRequest)
	if !strings.Contains(string(a.Body), "filter") {
		t.Errorf("a bad filter: %s", a.Body)
	}
}

func (g Target) citedAnswer(t *testing.T, c string) {
	ask := map[string]any{
		"model": g.ChatModel, "messages": User("How many days of paid leave are there?"), "max_tokens": 32,
		"retrieval": map[string]any{"collection": c, "top_k": 2},
	}
	v := g.Call(t, http.MethodPost, "/v1/chat/completions", ask, http.StatusOK).JSON(t)
	cited := Path(v, "choices", 0, "message", "annotations", 0)
	if Path(cited, "type") != "document_citation" || Path(cited, "document_id") == nil || Path(cited, "chunk_id") == nil || Path(cited, "score") == nil {
		t.Errorf("annotations: %v", Path(v, "choices", 0, "message", "annotations"))
	}
	ask["stream"] = true
	s := g.Stream(t.Context(), "/v1/chat/completions", g.AdminKey, ask, nil)
	if !s.Done || !strings.Contains(strings.Join(s.Chunks, ""), "document_citation") {
		t.Errorf("the stream cites nothing: %+v", s)
	}
	ask["retrieval"] = map[string]any{"collection": "nowhere-at-all"}
	delete(ask, "stream")
	g.Call(t, http.MethodPost, "/v1/chat/completions", ask, http.StatusNotFound)
}

func (g Target) deleteDocument(t *testing.T, c string) {
	g.Call(t, http.MethodDelete, "/v1/collections/"+c+"/documents/expenses", nil, http.StatusOK)
	g.Call(t, http.MethodGet, "/v1/collections/"+c+"/documents/expenses", nil, http.StatusNotFound)
	for _, mode := range []string{"lexical", "vector", "hybrid"} {
		if got := ids(g.search(t, g.AdminKey, c, map[string]any{"query": "train tickets receipts", "mode": mode})); strings.Contains(got, "expenses") {
			t.Errorf("%s still finds the deleted document: %s", mode, got)
		}
	}
}
