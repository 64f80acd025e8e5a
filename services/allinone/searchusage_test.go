package allinone

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What models do for documents and searches is on the bill, as the engines counted it,
// and a budget without anything left holds it.
func TestSearchIsBilledByWhatTheEnginesCount(t *testing.T) {
	r := start(t, t.TempDir())
	// worked are the tokens that an answer tells, by kind and model.
	worked := make(map[string]int)
	ask := func(path, body string) {
		t.Helper()
		status, text := r.call("POST", path, body)
		var told struct {
			ModelWork []struct {
				Kind, Model string
				Version     int
				InputTokens int `json:"input_tokens"`
			} `json:"model_work"`
		}
		if err := json.Unmarshal([]byte(text), &told); err != nil || status != http.StatusOK || len(told.ModelWork) == 0 {
			t.Fatalf("%s: HTTP %d, %s", path, status, text)
		}
		for _, w := range told.ModelWork {
			if w.InputTokens == 0 || w.Version != 1 {
				t.Errorf("%s: %s", path, text)
			}
			worked[w.Kind+" "+w.Model] += w.InputTokens
		}
	}
	billed := func() map[string]int {
		t.Helper()
		_, text := r.call("GET", "/v1/admin/usage?group_by=kind&group_by=model", "")
		var sums struct {
			Rows []struct {
				Kind, Model string
				InputTokens int `json:"input_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(text), &sums); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		out := make(map[string]int)
		for _, row := range sums.Rows {
			out[row.Kind+" "+row.Model] = row.InputTokens
		}
		return out
	}
	r.want("POST", "/v1/collections", `{"id":"notes"}`)
	ask("/v1/collections/notes/documents:batchUpsert", `{"documents":[{"id":"d1","text":"The gate is guarded at night."},{"id":"d2","text":"Bread is baked at dawn."}]}`)
	ask("/v1/collections/notes:search", `{"query":"guarded gate"}`)
	ask("/v1/collections/notes:search", `{"query":"who bakes","rerank":{"model":"sim-rerank"}}`)
	embed, rerank := "embed sim-embedding", "rerank sim-rerank"
	if got := billed(); got[embed] != worked[embed] || got[rerank] != worked[rerank] || worked[rerank] == 0 {
		t.Errorf("billed are %v, and models did %v", got, worked)
	}
	const chat = `{"model":"sim-chat","max_tokens":8,"messages":[{"role":"user","content":"Is there bread?"}],"retrieval":{"collection":"notes","rerank":{"model":"sim-rerank"}}}`
	before := billed()
	r.want("POST", "/v1/chat/completions", chat, "document_citation")
	if got := billed(); got[embed] <= before[embed] || got[rerank] <= before[rerank] || got["generate sim-chat"] == 0 {
		t.Errorf("with a chat, billed are %v after %v", got, before)
	}
	r.want("POST", "/v1/admin/usage:check", `{}`, `"adds_up":true`)

	r.want("POST", "/v1/admin/budgets", `{"budget":{"id":"none","scope":"tenant","period":"total","unit":"tokens","amount":0,"hard":true}}`)
	before = billed()
	for path, body := range map[string]string{
		"/v1/embeddings":                              `{"model":"sim-embedding","input":"hello"}`,
		"/v1/collections/notes:search":                `{"query":"another gate"}`,
		"/v1/collections/notes/documents:batchUpsert": `{"documents":[{"id":"d3","text":"More."}]}`,
		"/v1/chat/completions":                        chat,
	} {
		if status, text := r.call("POST", path, body); status != http.StatusTooManyRequests || !strings.Contains(text, "allows nothing") {
			t.Errorf("%s: HTTP %d, %s", path, status, text)
		}
	}
	if status, text := r.call("GET", "/v1/collections/notes/documents/d3", ""); status != http.StatusNotFound {
		t.Errorf("the document that was refused is there: HTTP %d, %s", status, text)
	}
	if got := billed(); got[embed] != before[embed] || got[rerank] != before[rerank] {
		t.Errorf("what was refused is billed: %v after %v", got, before)
	}
}
