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

// Arms name prompts in one form everywhere, and an alias of a prompt comes back.
func TestPromptsOfArms(t *testing.T) {
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
	gateway.HandleFunc("PUT /v1/registry/models/m/split", take(`{"arms":[{"name":"a","version":1,"weight":500000,"prompt":{"prompt":"greeting","version":2}},`+
		`{"name":"b","version":1,"weight":500000,"prompt":{"prompt":"greeting","alias":"production"}}]}`))
	gateway.HandleFunc("POST /v1/registry/models/m/experiments", take(`{"name":"x","arms":[{"name":"a","version":1,"weight":1000000,"prompt":{"prompt":"p","version":3}}]}`))
	gateway.HandleFunc("POST /v1/registry/prompts/greeting/aliases/production:rollback", take(`{"alias":{"prompt":"greeting","name":"production","version":1}}`))
	gateway.HandleFunc("GET /v1/registry/prompts/greeting/aliases/production/history", answer(200, `{"states":[{"revision":"7","version":2,"reason":"why"}]}`))

	code, out, errs := run(t, gateway, "", "models", "split", "m", "a=1+greeting@v2:50", "b=1+greeting:50")
	arms, _ := sent["arms"].([]any)
	if code != 0 || !strings.Contains(out, "greeting@v2") || !strings.Contains(out, "greeting@production") || len(arms) != 2 {
		t.Fatalf("split: %d, %s%s, sent %v", code, out, errs, sent)
	}
	if lookup(arms[0], "prompt.version") != float64(2) || lookup(arms[1], "prompt.alias") != "production" || lookup(arms[1], "version") != float64(1) {
		t.Errorf("sent %v", sent)
	}
	code, out, errs = run(t, gateway, "", "experiments", "create", "m", "x", "a=@staging+p@v3:100")
	arms, _ = sent["arms"].([]any)
	if code != 0 || !strings.Contains(out, "p@v3") || len(arms) != 1 || lookup(arms[0], "alias") != "staging" || lookup(arms[0], "prompt.version") != float64(3) {
		t.Errorf("experiment: %d, %s%s, sent %v", code, out, errs, sent)
	}
	code, out, errs = run(t, gateway, "", "prompts", "rollback", "greeting", "production", "7", "--reason", "worse")
	if code != 0 || sent["revision"] != float64(7) || sent["reason"] != "worse" || !strings.Contains(out, "greeting") {
		t.Errorf("rollback: %d, %s%s, sent %v", code, out, errs, sent)
	}
	if code, out, errs = run(t, gateway, "", "prompts", "history", "greeting", "production"); code != 0 || !strings.Contains(out, "why") {
		t.Errorf("history: %d, %s%s", code, out, errs)
	}
	for _, args := range []string{"models split m a=1+:100", "models split m a=1+@v2:100", "prompts rollback greeting production x"} {
		if code, _, _ := run(t, gateway, "", strings.Fields(args)...); code != 2 {
			t.Errorf("%s: exit %d, want 2", args, code)
		}
	}
}
