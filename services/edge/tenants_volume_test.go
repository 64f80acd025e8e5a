package edge_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestEtagsCountNoOthers: what names a state of a tenant's things does not tell how
// much others change theirs, and still names the state.
func TestEtagsCountNoOthers(t *testing.T) {
	g := open(t, nil)
	acme, globex := g.keyFor("acme", "admin"), g.keyFor("globex", "admin")
	const accounts = "/v1/admin/service-accounts"
	made := g.do("POST", accounts, `{"service_account":{"id":"robot","roles":["reader"]}}`, acme...)
	tag, _ := made.at("etag").(string)
	read := g.do("GET", accounts+"/robot", "", acme...)
	if len(tag) != 32 || read.at("etag") != tag {
		t.Fatalf("made %s, read %s", made.text, read.text)
	}
	if a := g.do("PATCH", accounts+"/robot", `{"service_account":{"owner":"x"},"etag":"`+tag+`"}`, acme...); a.status != http.StatusOK || a.at("etag") == tag {
		t.Errorf("changed: %d %s", a.status, a.text)
	}
	if a := g.do("PATCH", accounts+"/robot", `{"service_account":{"owner":"y"},"etag":"`+tag+`"}`, acme...); a.status != http.StatusConflict {
		t.Errorf("an old etag: %d %s", a.status, a.text)
	}
	key := g.do("POST", "/v1/admin/api-keys", `{"name":"x","service_account":"robot"}`, acme...)
	id, _ := key.at("api_key", "id").(string)
	tag, _ = key.at("api_key", "etag").(string)
	// Use, and what its account is, are no change of the key.
	secret, _ := key.at("key").(string)
	g.do("GET", "/v1/models", "", "Authorization", "Bearer "+secret)
	g.do("PATCH", accounts+"/robot", `{"service_account":{"groups":["g"]}}`, acme...)
	if a := g.do("PATCH", "/v1/admin/api-keys/"+id, `{"api_key":{"name":"y"},"etag":"`+tag+`"}`, acme...); len(tag) != 32 || a.status != http.StatusOK {
		t.Errorf("the key with %q: %d %s", tag, a.status, a.text)
	}
	for _, want := range []string{"1", "2"} {
		for _, as := range [][]string{acme, globex} {
			if a := g.apply(http.StatusOK, `{"activate":true,"document":{"description":"`+want+`"}}`, as...); a.at("etag") != want {
				t.Errorf("the policy's etag is %v, want %s", a.at("etag"), want)
			}
		}
	}
}

// TestTenantsRecordsHaveNoPlace: the trail is one of all tenants.
func TestTenantsRecordsHaveNoPlace(t *testing.T) {
	g := open(t, nil)
	acme := g.keyFor("acme", "admin")
	g.do("GET", "/v1/models", "", acme...)
	const trail, export = "/v1/admin/audit", "/v1/admin/audit:export?format=csv"
	all := g.do("GET", trail, "")
	if chain, _ := all.at("records", 0, "chain").(string); chain == "" {
		t.Fatalf("the platform's administrator sees %s", all.text)
	}
	for path, more := range map[string]string{trail: "?", export: "&"} {
		a := g.do("GET", path, "", acme...)
		if a.status != http.StatusOK || !strings.Contains(a.text, "acme") {
			t.Fatalf("%s: %d %s", path, a.status, a.text)
		}
		for _, chain := range []any{all.at("records", 0, "chain"), all.at("records", 1, "hash")} {
			if text, _ := chain.(string); text == "" || strings.Contains(a.text, text) {
				t.Errorf("%s tells %q", path, text)
			}
		}
		if n := a.at("records", 0, "sequence"); path == trail && n != 0.0 {
			t.Errorf("a record has the number %v", n)
		}
		for _, filter := range []string{`sequence > 3`, `NOT (decision = "allowed" OR chain = "x")`} {
			for _, as := range [][]string{acme, nil} {
				a := g.do("GET", path+more+"filter="+url.QueryEscape(filter), "", as...)
				if refused := a.status == http.StatusBadRequest; refused != (as != nil) {
					t.Errorf("%s of %s: %d %s", path, filter, a.status, a.text)
				}
			}
		}
	}
}
