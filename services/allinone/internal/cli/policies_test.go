package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const policyOne = `description: interns
rules:
  - {id: interns-short, subject: "group:interns", scope: any, type: model, action: chat, condition: hour >= 0, effect: allow, obligations: {max_tokens: 5}}
  - {id: no-trial, subject: "role:reader", scope: any, type: model, resource: divided, action: chat, condition: "version_labels.stage == 'trial'", effect: deny}
  - {id: no-secrets, subject: "role:reader", scope: any, type: collection|document, condition: "document_class == 'secret'", effect: deny}
cases:
  - {name: short, caller: {tenant: acme, groups: [interns]}, action: chat, resource: {type: model, id: x}, expect: allow, rule: interns-short}
  - {name: trial, caller: {tenant: acme, roles: [reader]}, action: chat, resource: {type: model, id: divided}, context: {model: {version_labels: {stage: trial}}}, expect: deny, rule: no-trial}
`

const dividedModel = `
{kind: Model, name: divided}
---
{kind: Version, model: divided, name: one, labels: {stage: proven}, spec: {task: chat, engine: sim, parameters: {seed: "1"}}}
---
{kind: Version, model: divided, name: two, labels: {stage: trial}, spec: {task: chat, engine: sim, parameters: {seed: "2"}}}
---
{kind: Split, model: divided, arms: [{name: control, version: one, percent: 50}, {name: canary, version: two, percent: 50}]}
`

// TestPolicies is every verb of policies, and what the policy then does, on a gateway
// with a registry, workers and search behind it.
func TestPolicies(t *testing.T) {
	r := startAll(t)
	run := func(want int, stdin string, args ...string) string {
		t.Helper()
		code, out := r.poterne(stdin, args...)
		if code != want {
			t.Fatalf("%v: code %d\n%s", args, code, out)
		}
		return out
	}
	has := func(out string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Fatalf("%q is not in\n%s", want, out)
			}
		}
	}
	run(0, dividedModel, "apply", "-f", "-")
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(policyOne), 0o600); err != nil {
		t.Fatal(err)
	}
	has(run(1, "rules:\n- subject: public\n  efect: allow\n", "policies", "apply", "-f", "-"), "line 3, column 3", "efect")
	run(0, "", "policies", "apply", "-f", file, "--check")
	has(run(0, "", "policies", "apply", "-f", file, "-m", "first"), "default/admin", "first")
	has(run(0, "", "policies", "get"), "default@1")
	has(run(0, "", "policies", "test"), "short", "trial")
	two := strings.Replace(policyOne, "max_tokens: 5", "max_tokens: 7", 1) + "  - {name: other, caller: {tenant: acme}, action: chat, resource: {type: model, id: x}, expect: deny}\n"
	run(0, two, "policies", "apply", "-f", "-", "-m", "second", "--draft")
	has(run(0, "", "policies", "history"), "first", "second")

	diff := run(0, "", "policies", "diff", "1", "2")
	has(diff, "changed rule interns-short", "-   max_tokens: 5", "+   max_tokens: 7", "added case other")
	for line := range strings.Lines(diff) {
		if len(line) > 80 {
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
	has(run(0, "", "policies", "diff", "1", "2", "-u"), "--- version 1", "+++ version 2", "@@")
	if json.Unmarshal([]byte(run(0, "", "policies", "diff", "1", "2", "-o", "json")), new([]map[string]any)) != nil {
		t.Error("the differences are no JSON")
	}

	explain := []string{"policies", "explain", "chat", "model/divided", "--caller-tenant", "acme", "--role", "reader"}
	out := run(0, "", explain...)
	for range 200 { // the registry is followed
		if strings.Contains(out, "canary") {
			break
		}
		<-time.After(10 * time.Millisecond)
		out = run(0, "", explain...)
	}
	has(out, "canary", "default@1/no-trial", "models as the registry told them")
	has(run(0, "", append(explain, "--version-label", "stage=proven")...), "allow")
	has(run(0, "", "policies", "explain", "search", "collection/c", "--caller-tenant", "acme", "--role", "reader"), `documents that may be seen: NOT class:"secret"`)
	has(run(0, "", "policies", "explain", "search", "collection/c", "--caller-tenant", "acme", "--role", "reader", "--document-class", "secret"), "deny")

	run(0, "", "policies", "dry-run", "2")
	as := *r
	codes := map[int]int{}
	for i := 0; i < 40 && (codes[0] == 0 || codes[1] == 0); i++ { // a split sticks to who asks
		as.key = field(t, run(0, "", "keys", "create", "r", "--tenant", "acme", "--subject", "ada-"+strconv.Itoa(i), "--role", "reader", "-o", "json"), "key")
		code, out := as.poterne("", "chat", "hello", "--model", "divided")
		if codes[code]++; code != 0 && !strings.Contains(out, "does not let you have the version") {
			t.Fatalf("code %d: %s", code, out)
		}
	}
	if codes[0] == 0 || codes[1] == 0 {
		t.Errorf("of the two arms one is denied: %v", codes)
	}
	has(run(0, "", "policies", "dry-run"), "version 2", "requests judged")
	run(0, "", "policies", "dry-run", "0")

	run(2, "", "policies", "activate", "0")
	has(run(0, "", "policies", "activate", "2"), "2")
	has(run(1, "", "policies", "activate", "1", "--etag", "1"), "meanwhile")
	has(run(0, "", "policies", "rollback", "1", "-m", "back"), "back")
	has(run(2, "", "policies", "deactivate"), "--yes")
	has(run(2, "n\n", "policies", "deactivate"), "nothing was changed")
	has(run(0, "y\n", "policies", "deactivate"), "3", "Take it out of force?")
	has(run(1, "", "policies", "deactivate", "--yes"), "no policy in force")
	has(run(0, "", "policies", "activate", "3"), "3")
	run(0, "", "policies", "deactivate", "--yes")
	// A tenant's administrator, for their own.
	admin := *r
	admin.key = field(t, run(0, "", "keys", "create", "a", "--tenant", "acme", "--subject", "eve", "--role", "admin", "-o", "json"), "key")
	mine := "rules: [{id: x, subject: public, type: model, resource: divided, action: chat, effect: deny}]\n"
	if code, out := admin.poterne(mine, "policies", "apply", "-f", "-"); code != 0 {
		t.Fatalf("code %d: %s", code, out)
	}
	if code, out := admin.poterne("", "policies", "get", "--tenant", "default"); code == 0 {
		t.Errorf("another tenant's policy is shown: %s", out)
	}
	code, out := as.poterne("", "chat", "hello", "--model", "divided")
	if code == 0 || !strings.Contains(out, "a rule of the policy denies") || slices.ContainsFunc([]string{"acme@1", "/x"}, func(s string) bool { return strings.Contains(out, s) }) {
		t.Errorf("code %d: %s", code, out)
	}
}

func field(t *testing.T, text, name string) string {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	s, _ := out[name].(string)
	return s
}
