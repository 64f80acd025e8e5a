package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// registryOf answers what is at its paths, and 404 elsewhere.
func registryOf(t *testing.T, things map[string]string, sent *[]string) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			*sent = append(*sent, r.Method+" "+r.URL.Path)
			fmt.Fprint(w, `{}`)
			return
		}
		body, ok := things[r.URL.Path]
		if !ok {
			answer(http.StatusNotFound, `{"status":404,"detail":"not there","code":"NOT_FOUND"}`)(w, r)
			return
		}
		fmt.Fprint(w, body)
	}
}

const declared = "kind: Model\nname: m\nlabels: {team: b}\n---\nkind: Alias\nmodel: m\nname: a\nversion: 2\n"

func TestApplyAndDiff(t *testing.T) {
	var sent []string
	things := map[string]string{
		"/v1/registry/models/m":            `{"name":"m","labels":{"team":"a","x":"y"}}`,
		"/v1/registry/models/m/versions/2": `{"number":2,"digest":"sha256:2"}`,
		"/v1/registry/models/m/aliases/a":  `{"name":"a","version":2,"digest":"sha256:2","etag":"r7"}`,
	}
	gateway := registryOf(t, things, &sent)
	code, stdout, stderr := run(t, gateway, declared, "diff", "-f", "-")
	if code != 1 || stderr != "" || !strings.Contains(stdout, "-  team: a\n+  team: b\n") || strings.Contains(stdout, "alias") {
		t.Errorf("diff: code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, gateway, declared, "apply", "--dry-run", "-f", "-")
	if code != 0 || len(sent) != 0 || !strings.Contains(stderr, "1 to update, 1 as they were") {
		t.Errorf("dry run: code %d, sent %v\n%s%s", code, sent, stdout, stderr)
	}
	code, stdout, _ = run(t, gateway, declared, "apply", "-f", "-", "-o", "json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(stdout), &rows); code != 0 || err != nil || len(rows) != 2 || rows[0]["action"] != "update" || len(sent) != 1 {
		t.Errorf("apply: code %d, %v, sent %v\n%s", code, err, sent, stdout)
	}
	// A protected alias is only asked for, and that is said.
	asked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			fmt.Fprint(w, `{"name":"a","version":1,"pending_change":"c41"}`)
			return
		}
		gateway(w, r)
	})
	things["/v1/registry/models/m/aliases/a"] = `{"name":"a","version":1,"digest":"sha256:1","etag":"r7"}`
	if code, _, stderr = run(t, asked, declared, "apply", "-f", "-"); code != 0 || !strings.Contains(stderr, "until another approves the change c41") {
		t.Errorf("a protected alias: code %d, %s", code, stderr)
	}
	things["/v1/registry/models/m/aliases/a"] = `{"name":"a","version":2,"digest":"sha256:2","etag":"r7"}`
	sent = sent[:1]
	things["/v1/registry/models/m"] = `{"name":"m","labels":{"team":"b"}}`
	code, _, stderr = run(t, gateway, declared, "apply", "-f", "-")
	if code != 0 || len(sent) != 1 || !strings.Contains(stderr, "nothing to change") {
		t.Errorf("again: code %d, sent %v, %s", code, sent, stderr)
	}
	if code, stdout, _ = run(t, gateway, declared, "diff", "-f", "-"); code != 0 || stdout != "" {
		t.Errorf("no difference: code %d, %s", code, stdout)
	}
	code, _, stderr = run(t, gateway, "kind: Model\nname: m\nfoo: 1\n", "apply", "-f", "-")
	if code != 2 || !strings.Contains(stderr, `-:3:1: unknown field "foo"`) {
		t.Errorf("unknown field: code %d, %s", code, stderr)
	}
	if code, _, _ = run(t, gateway, "", "apply"); code != 2 {
		t.Errorf("no file: code %d", code)
	}
}

func TestDescribe(t *testing.T) {
	gateway := registryOf(t, map[string]string{
		"/v1/registry/models/m":           `{"name":"m"}`,
		"/v1/registry/models/m/versions":  `{"versions":[{"number":3,"digest":"sha256:3"}]}`,
		"/v1/registry/models/m/aliases":   `{"aliases":[{"name":"prod","version":3}]}`,
		"/v1/registry/models/m/aliases/p": `{"name":"p","version":3}`,
		"/v1/registry/changes":            `{"changes":[{"revision":"9","event":"alias.set","actor":"default/ana\u001b[2J"}]}`,
	}, nil)
	for _, args := range [][]string{{"models", "describe", "m"}, {"aliases", "describe", "m", "p"}} {
		code, stdout, stderr := run(t, gateway, "", args...)
		if code != 0 || !strings.Contains(stdout, "RECENT CHANGES") || !strings.Contains(stdout, "default/ana") || strings.ContainsRune(stdout, 0x1b) {
			t.Errorf("%v: code %d, %s%s", args, code, stdout, stderr)
		}
	}
	code, stdout, _ := run(t, gateway, "", "versions", "list", "m", "-o", "yaml")
	if code != 0 || !strings.Contains(stdout, "digest: sha256:3") {
		t.Errorf("versions: code %d, %s", code, stdout)
	}
}

func TestWebhookSecretIsMadeAndShownOnce(t *testing.T) {
	var got map[string]any
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, `{"name":"ci","active":true}`)
	})
	code, stdout, stderr := run(t, gateway, "", "webhooks", "create", "ci", "--url", "https://example.org", "--generate-secret", "--event", "alias.*")
	secret, _ := got["secret"].(string)
	if code != 0 || !strings.HasPrefix(secret, "whsec_") || !strings.Contains(stdout, secret) {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	if code, _, _ := run(t, gateway, "", "webhooks", "create", "ci", "--url", "https://example.org"); code != 2 {
		t.Errorf("without a secret: code %d", code)
	}
}
