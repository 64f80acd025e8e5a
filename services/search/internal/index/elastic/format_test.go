package elastic_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// An index that an earlier analysis filled says that it has followed nothing, so
// that it is made anew.
func TestAnIndexOfOtherTermsIsMadeAnew(t *testing.T) {
	for format, want := range map[int]int64{analysis.Version: 7, analysis.Version - 1: 0, 0: 0} {
		n := newNode(t)
		answers := map[string]any{
			"_alias": map[string]any{"p-books--x": map[string]any{"aliases": map[string]any{"p-books": map[string]any{}}}},
			"meta": map[string]any{
				"_seq_no": 3, "_primary_term": 1,
				"_source": map[string]any{"meta": map[string]any{"format": format, "through": 7}},
			},
		}
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
			answer, ok := answers[last]
			if ok {
				w.Header().Set("X-Elastic-Product", "Elasticsearch")
				if err := json.NewEncoder(w).Encode(answer); err != nil {
					t.Error(err)
				}
			}
			return ok
		}
		if got := n.open(nil).Sequence(); got != want {
			t.Errorf("format %d: the index has followed to %d, want %d", format, got, want)
		}
	}
}
