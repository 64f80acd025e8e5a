//go:build real

package edge_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

// gitleaksRule is the rule that docs/api-keys.md gives.
func gitleaksRule(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/api-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```toml\n(.*?)```").FindStringSubmatch(string(doc))
	if found == nil {
		t.Fatal("docs/api-keys.md has no rule for gitleaks")
	}
	return found[1]
}

// TestRealGitleaks has gitleaks look for our keys, by the rule of the documentation
// alone, in a repository that has some in its files and in its past; what it finds is
// asked about, which tells keys from texts that only look like one.
func TestRealGitleaks(t *testing.T) {
	g := open(t, nil)
	keys := make(map[string]string) // what is found, and what check-leaked says of it
	var made []string
	for _, name := range []string{"env", "python", "removed", "url"} {
		a := g.do("POST", "/v1/admin/api-keys", `{"name":"`+name+`","roles":["reader"]}`)
		key, _ := a.at("key").(string)
		made, keys[key] = append(made, key), "active"
	}
	lookalike := made[0][:len(made[0])-1] + map[bool]string{true: "0", false: "1"}[!strings.HasSuffix(made[0], "0")] // a wrong checksum
	keys[lookalike] = ""
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	commit := func() {
		t.Helper()
		run("git", "add", "-A")
		run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", "x")
	}
	run("git", "init", "-q")
	write(".env", "POTERNE_API_KEY="+made[0]+"\n")
	write("client.py", `client = OpenAI(base_url="https://api.example/v1", api_key="`+made[1]+`")`)
	write("old.yaml", "key: '"+made[2]+"'\n")
	commit()
	if err := os.Remove(filepath.Join(dir, "old.yaml")); err != nil {
		t.Fatal(err)
	}
	write("README.md", "curl -H 'authorization: Bearer "+made[3]+"' https://api.example/v1/models\n")
	write("notes.md", "a key looks like "+lookalike+"\n")
	// What is none by its form.
	write("test.txt", strings.Join([]string{
		"ptn_", made[0][:30], strings.ToUpper(made[0]), made[0][:len(made[0])-1], made[0] + "x", "x" + made[0], "ptn_" + strings.Repeat("u", 16) + "_" + strings.Repeat("0", 49),
	}, "\n"))
	commit()

	config, report := filepath.Join(t.TempDir(), "gitleaks.toml"), filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(config, []byte(gitleaksRule(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := testkit.Binary(t, "POTERNE_GITLEAKS_BIN", []string{"gitleaks"})
	out, err := exec.CommandContext(t.Context(), bin, "git", "--no-banner", "-c", config, "-f", "json", "-r", report, dir).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 { // 1: there are leaks
		t.Fatalf("gitleaks: %v\n%s", err, out)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var leaks []struct{ RuleID, Secret, File string }
	if err := json.Unmarshal(text, &leaks); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, l := range leaks {
		if _, planted := keys[l.Secret]; !planted || l.RuleID != "poterne-api-key" {
			t.Errorf("it finds too much: %+v", l)
		}
		texts = append(texts, l.Secret)
	}
	if len(leaks) != len(keys) {
		t.Errorf("%d found of %d: %+v", len(leaks), len(keys), leaks)
	}
	body, err := json.Marshal(map[string]any{"texts": texts, "revoke": true})
	if err != nil {
		t.Fatal(err)
	}
	checked := g.do("POST", "/v1/admin/api-keys:checkLeaked", string(body))
	for i, text := range texts {
		found, _ := checked.at("results", i, "found").(bool)
		if found != (keys[text] != "") {
			t.Errorf("%.24s… found: %v, %s", text, found, checked.text)
		}
	}
	for _, key := range made {
		if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+key); a.status != 401 {
			t.Errorf("a leaked key holds on: %d", a.status)
		}
	}
}
