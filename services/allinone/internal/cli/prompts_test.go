package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestPrompts(t *testing.T) {
	var sent map[string]any
	gateway := http.NewServeMux()
	take := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sent = nil
			if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
				t.Error(err)
			}
			answer(200, body)(w, r)
		}
	}
	gateway.HandleFunc("POST /v1/registry/prompts/greeting/versions", take(`{"prompt":"greeting","number":3,"digest":"sha256:ab"}`))
	gateway.HandleFunc("PUT /v1/registry/prompts/greeting/aliases/production", take(`{"prompt":"greeting","name":"production","version":3}`))
	gateway.HandleFunc("POST /v1/registry/prompts/greeting:render", take(`{"messages":[{"role":"user","content":"Hello Ada=1"}],"version":3}`))
	gateway.HandleFunc("GET /v1/registry/prompts", answer(200, `{"prompts":[{"name":"greeting","version_count":3,"aliases":[{"name":"production","version":2}]}]}`))

	code, out, errs := run(t, gateway, `{"messages":[{"role":"user","content":"Hello {{name}}"}]}`, "prompts", "create", "greeting", "-")
	if code != 0 || !strings.Contains(out, "sha256:ab") || lookup(sent, "spec.messages") == nil {
		t.Errorf("create: %d, %s%s, sent %v", code, out, errs, sent)
	}
	code, out, errs = run(t, gateway, "", "prompts", "alias", "greeting", "production", "v3")
	if code != 0 || sent["version"] != float64(3) || sent["etag"] != "*" {
		t.Errorf("alias: %d, %s%s, sent %v", code, out, errs, sent)
	}
	code, out, errs = run(t, gateway, "", "prompts", "render", "greeting@v3", "name=Ada=1")
	if code != 0 || !strings.Contains(out, "Hello Ada=1") || lookup(sent, "variables.name") != "Ada=1" || sent["version"] != "v3" {
		t.Errorf("render: %d, %s%s, sent %v", code, out, errs, sent)
	}
	if code, out, errs = run(t, gateway, "", "prompts", "list"); code != 0 || !strings.Contains(out, "production=2") {
		t.Errorf("list: %d, %s%s", code, out, errs)
	}
	for _, args := range []string{"prompts render greeting name", "prompts create greeting"} {
		if code, _, _ := run(t, gateway, "", strings.Fields(args)...); code != 2 {
			t.Errorf("%s: exit %d, want 2", args, code)
		}
	}
}
