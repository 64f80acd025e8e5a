package sim

import (
	"net/http"
	"strings"
	"testing"
)

func TestRerank(t *testing.T) {
	r := newRig(t, nil)
	status, text := r.post("/v1/rerank", `{"query":"Which KEY opens the gate?","documents":["bread","the key opens","the gate, which the key opens"]}`)
	want := `"results":[{"index":2,"document":{"text":"the gate, which the key opens"},"relevance_score":1},` +
		`{"index":1,"document":{"text":"the key opens"},"relevance_score":0.6},{"index":0,"document":{"text":"bread"},"relevance_score":0}]`
	if status != http.StatusOK || !strings.Contains(text, want) || !strings.Contains(text, `"usage":{"prompt_tokens":35,"total_tokens":35}`) {
		t.Errorf("%d %s", status, text)
	}
	if _, text := r.post("/v1/rerank", `{"query":"x","documents":["a","x"],"top_n":1}`); strings.Count(text, `"index"`) != 1 {
		t.Errorf("top_n: %s", text)
	}
	for _, body := range []string{
		`{"documents":["x"]}`, `{"query":"x"}`, `{"query":"x","documents":[]}`, `{"query":"x","documents":"x"}`,
		`{"query":"x","documents":["` + strings.Repeat("y", 100_000) + `"]}`,
	} {
		if status, text := r.post("/v1/rerank", body); status != http.StatusBadRequest {
			t.Errorf("%.60s: %d %s", body, status, text)
		}
	}
}
