package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAliasesOfAProtectedModel(t *testing.T) {
	var said []string
	gateway := http.NewServeMux()
	note := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var sent map[string]any
			if r.Method != http.MethodGet && r.Method != http.MethodDelete {
				if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
					t.Error(err)
				}
			}
			raw, _ := json.Marshal(sent)
			said = append(said, r.Method+" "+r.URL.String()+" "+string(raw))
			answer(200, body)(w, r)
		}
	}
	const change = `{"id":"c9","alias":"production","from_version":1,"to_version":2,"state":"ALIAS_CHANGE_STATE_PENDING","requested_by":"default/ada"}`
	gateway.HandleFunc("PUT /v1/registry/models/m/aliases/production", note(`{"model":"m","name":"production","version":1,"pending_change":"c9"}`))
	gateway.HandleFunc("DELETE /v1/registry/models/m/aliases/production", note(`{"change":`+change+`}`))
	gateway.HandleFunc("POST /v1/registry/models/m/aliases/production:rollback", note(`{"alias":{"model":"m","name":"production","version":4,"digest":"sha256:4"}}`))
	gateway.HandleFunc("GET /v1/registry/models/m/alias-changes/c9", note(change))
	gateway.HandleFunc("GET /v1/registry/models/m/alias-changes", note(`{"changes":[`+change+`]}`))
	gateway.HandleFunc("POST /v1/registry/models/m/alias-changes/c9:approve", note(change))
	gateway.HandleFunc("PUT /v1/registry/models/m/alias-protection", note(`{"protection":{"model":"m","protected":["prod*"]}}`))
	gateway.HandleFunc("GET /v1/registry/models/m/aliases/production/history", note(`{"states":[{"revision":"12","version":1,"actor":"default/bob"}]}`))
	for _, tt := range []struct{ args, sent, out, hint string }{
		{"set m production v2 --reason better", `PUT /v1/registry/models/m/aliases/production {"etag":"*","reason":"better","version":2}`, "c9", "aliases approve m c9"},
		{"request m production 2 --etag r1", `PUT /v1/registry/models/m/aliases/production {"etag":"r1","reason":"","version":2}`, "c9", "aliases approve m c9"},
		{"delete m production", `DELETE /v1/registry/models/m/aliases/production?etag=%2A&reason= null`, "c9", "aliases approve m c9"},
		{"rollback m production 12", `POST /v1/registry/models/m/aliases/production:rollback {"etag":"*","reason":"","revision":12}`, "sha256:4", ""},
		{"requests m", "GET /v1/registry/models/m/alias-changes?pending=true null", "default/ada", ""},
		{"approve m c9 --reason seen", `POST /v1/registry/models/m/alias-changes/c9:approve {"reason":"seen"}`, "c9", ""},
		{"protect m prod*", `PUT /v1/registry/models/m/alias-protection {"etag":"*","protected":["prod*"],"reason":""}`, "prod*", ""},
		{"history m production", "GET /v1/registry/models/m/aliases/production/history null", "default/bob", ""},
	} {
		said = nil
		code, out, errs := run(t, gateway, "", append([]string{"aliases"}, strings.Fields(tt.args)...)...)
		if code != 0 || len(said) == 0 || said[0] != tt.sent || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.hint) {
			t.Errorf("%s: exit %d, sent %q, printed %q and %q", tt.args, code, said, out, errs)
		}
	}
	for _, args := range []string{"set m production latest", "rollback m production yesterday", "protect m a --none", "approve m"} {
		if code, _, _ := run(t, gateway, "", append([]string{"aliases"}, strings.Fields(args)...)...); code != 2 {
			t.Errorf("%s: exit %d, want 2", args, code)
		}
	}
}
