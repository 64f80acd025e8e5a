package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestGenerations(t *testing.T) {
	const shown = `{"number":2,"state":"building","documents_done":7,"documents_total":9,"embedding_model":"e5","reason":"embedding is unavailable"}`
	for _, c := range []struct {
		args, method, path, body string
	}{
		{"create notes", "POST", "/v1/collections/notes/embeddingGenerations", `{"serve_when_ready":true}`},
		{
			"create notes --embedding-model e5@v2 --max-words 120 --overlap-words 0 --hold", "POST", "/v1/collections/notes/embeddingGenerations",
			`{"chunking":{"max_words":120,"overlap_words":0},"embedding_model":"e5@v2","serve_when_ready":false}`,
		},
		{"get notes 2", "GET", "/v1/collections/notes/embeddingGenerations/2", ``},
		{"serve notes 2", "POST", "/v1/collections/notes/embeddingGenerations/2:serve", `{}`},
		{"rollback notes", "POST", "/v1/collections/notes/embeddingGenerations:rollback", `{}`},
		{"list notes", "GET", "/v1/collections/notes/embeddingGenerations", ``},
		{"delete notes 2", "DELETE", "/v1/collections/notes/embeddingGenerations/2", ``},
	} {
		t.Run(c.args, func(t *testing.T) {
			gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body json.RawMessage
				_ = json.NewDecoder(r.Body).Decode(&body)
				if r.Method != c.method || r.URL.Path != c.path || string(body) != c.body {
					t.Errorf("%s %s %s", r.Method, r.URL.Path, body)
				}
				if strings.HasPrefix(c.args, "list") {
					fmt.Fprintf(w, `{"embedding_generations":[%s]}`, shown)
					return
				}
				fmt.Fprint(w, shown)
			})
			code, stdout, stderr := run(t, gateway, "", append([]string{"collections", "generations"}, strings.Fields(c.args)...)...)
			shows := strings.Contains(stdout, "building") && strings.Contains(stdout, "embedding is unavailable")
			if code != 0 || stderr != "" || shows == strings.HasPrefix(c.args, "delete") {
				t.Errorf("%d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
}
