package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked keeps what a gateway was asked last.
type asked struct{ method, uri, body string }

func (a *asked) gateway(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		*a = asked{r.Method, r.RequestURI, string(raw)}
		answer(200, text)(w, r)
	}
}

func TestModelsMetadataCommands(t *testing.T) {
	card := filepath.Join(t.TempDir(), "card.md")
	if err := os.WriteFile(card, []byte("# M"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args, answer string
		want         asked
		out          string
	}{
		{"delete m", `{}`, asked{"DELETE", "/v1/registry/models/m", ""}, ""},
		{"delete m@v3 --purge", `{}`, asked{"DELETE", "/v1/registry/models/m/versions/v3?purge=true", ""}, ""},
		{"undelete m", `{"name":"m"}`, asked{"POST", "/v1/registry/models/m:undelete", `{}`}, "m"},
		{"undelete m@3", `{"model":"m","number":3}`, asked{"POST", "/v1/registry/models/m/versions/3:undelete", `{}`}, "3"},
		{
			"find --filter owner=ana --order-by name --deleted", `{"models":[{"name":"m","owner":"ana"}]}`,
			asked{"GET", "/v1/registry/models?filter=owner%3Dana&order_by=name&show_deleted=true", ""},
			"ana",
		},
		{"versions m --limit 1", `{"versions":[{"number":7}]}`, asked{"GET", "/v1/registry/models/m/versions?page_size=1", ""}, "7"},
		{
			"update m --owner bob --card " + card, `{"name":"m","owner":"bob"}`,
			asked{"PATCH", "/v1/registry/models/m", `{"card":"# M","owner":"bob"}`},
			"bob",
		},
		{
			"version m@v1 --label a=b --metric acc=0.5 --metric old-", `{"model":"m","number":1,"digest":"sha256:1"}`,
			asked{"PATCH", "/v1/registry/models/m/versions/sha256:1", `{"labels":{"a":"b"},"metrics":{"acc":0.5},"remove_metrics":["old"]}`},
			"sha256:1",
		},
	}
	for _, tt := range tests {
		var got asked
		code, out, stderr := run(t, got.gateway(tt.answer), "", append([]string{"models"}, strings.Fields(tt.args)...)...)
		if code != 0 || got != tt.want || !strings.Contains(out, tt.out) {
			t.Errorf("%s: code %d, %+v, want %+v\n%s%s", tt.args, code, got, tt.want, out, stderr)
		}
	}
	for _, bad := range []string{"delete m@latest", "update m", "version m@v1 --metric acc=much", "version m@v1 --label x", "sign m@v1", "verify m@v1 --public-key x"} {
		var got asked
		if code, _, _ := run(t, got.gateway(`{}`), "", append([]string{"models"}, strings.Fields(bad)...)...); code != 2 || got.method != "" {
			t.Errorf("%s: code %d, asked %+v", bad, code, got)
		}
	}
}

func TestModelsAreSignedAndVerified(t *testing.T) {
	var got asked
	file := filepath.Join(t.TempDir(), "key.pem")
	code, out, stderr := run(t, got.gateway(`{}`), "", "models", "keygen", file, "-o", "json")
	var made map[string]string
	if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil {
		t.Fatalf("code %d, %v: %s%s", code, err, out, stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if code, _, _ := run(t, got.gateway(`{}`), "", "models", "keygen", file); code == 0 {
		t.Error("a key was overwritten")
	}
	version := `{"model":"m","number":1,"digest":"sha256:aa"%s}`
	code, _, stderr = run(t, got.gateway(fmt.Sprintf(version, "")), "", "models", "sign", "m@v1", "--key", file)
	var sent struct{ Signature map[string]string }
	if err := json.Unmarshal([]byte(got.body), &sent); code != 0 || err != nil || got.uri != "/v1/registry/models/m/versions/sha256:aa:sign" {
		t.Fatalf("code %d, %v, %+v: %s", code, err, got, stderr)
	}
	raw, err := json.Marshal([]any{sent.Signature})
	if err != nil {
		t.Fatal(err)
	}
	signed := got.gateway(fmt.Sprintf(version, `,"signatures":`+string(raw)))
	if code, out, stderr = run(t, signed, "", "models", "verify", "m@v1", "--public-key", made["public_key"]); code != 0 || !strings.Contains(out, "true") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	other := got.gateway(strings.Replace(fmt.Sprintf(version, `,"signatures":`+string(raw)), "sha256:aa", "sha256:bb", 1))
	if code, _, _ = run(t, other, "", "models", "verify", "m@v1", "--public-key", made["public_key"]); code != 1 {
		t.Errorf("of another digest: code %d", code)
	}
}
