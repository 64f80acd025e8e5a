package elastic_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
)

// An index whose passages are in another form asks to be replaced; one in ours
// is searched as it is.
func TestAnIndexOfAnotherFormatIsMadeAnew(t *testing.T) {
	for state, want := range map[string]int64{
		`{"through": 5, "passages": 1}`:                                                     0,
		`{"through": 5, "passages": 1, "format": 0}`:                                        0,
		`{"through": 5, "passages": 1, "format": 99}`:                                       0,
		fmt.Sprintf(`{"through": 5, "passages": 1, "format": %d}`, 1000+analysis.Version-1): 0, // other terms
		fmt.Sprintf(`{"through": 5, "passages": 1, "format": %d}`, analysis.Version):        0,
		fmt.Sprintf(`{"through": 5, "passages": 1, "format": %d}`, 1000+analysis.Version):   5,
	} {
		n := newNode(t)
		n.trouble = func(w http.ResponseWriter, r *http.Request, last string, _ int) bool {
			switch {
			case strings.Contains(r.URL.Path, "_alias") && r.Method == http.MethodGet:
				return answers(t, w, `{"p-books--x1": {"aliases": {"p-books": {}}}}`)
			case last == "meta" && r.Method == http.MethodGet:
				return answers(t, w, `{"_seq_no": 1, "_primary_term": 1, "_source": {"meta": `+state+`}}`)
			default:
				return false
			}
		}
		if got := n.open(func(*elastic.Options) {}).Sequence(); got != want {
			t.Errorf("%s: generation %d, want %d", state, got, want)
		}
	}
}

func answers(t *testing.T, w http.ResponseWriter, body string) bool {
	t.Helper()
	if !json.Valid([]byte(body)) {
		t.Errorf("not JSON: %s", body)
	}
	_, err := w.Write([]byte(body))
	if err != nil {
		t.Error(err)
	}
	return true
}
