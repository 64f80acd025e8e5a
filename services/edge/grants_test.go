package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
)

func (f *fakeSearch) ListCollections(context.Context, *searchv1.ListCollectionsRequest) (*searchv1.ListCollectionsResponse, error) {
	return &searchv1.ListCollectionsResponse{Collections: []*searchv1.Collection{{Id: "kb"}, {Id: "secret"}, {Id: "kb-2"}}, NextPageToken: "x"}, nil
}

// newKey creates a key and returns what authenticates by it, and its id.
func (g *gate) newKey(body string) (bearer []string, id string) {
	g.t.Helper()
	a := g.do("POST", "/v1/admin/api-keys", body)
	key, _ := a.at("key").(string)
	id, _ = a.at("api_key", "id").(string)
	if a.status != 200 || key == "" || id == "" {
		g.t.Fatalf("no key: %d %s", a.status, a.text)
	}
	return []string{"Authorization", "Bearer " + key}, id
}

const sayHi = `{"model":%q,"messages":[{"role":"user","content":"hi"}]%s}`

func TestGrantsNarrowAKey(t *testing.T) {
	g := open(t, nil)
	everything, _ := g.newKey(`{"name":"all","roles":["admin"]}`)
	scoped, _ := g.newKey(`{"name":"chat","roles":["admin"],"scopes":["model:chat","*:list"]}`)
	small, _ := g.newKey(`{"name":"small","roles":["admin"],"models":["small","sm*"],"collections":["kb*"]}`)
	other, _ := g.newKey(`{"name":"other","roles":["admin"],"models":["other"],"collections":["nothing"]}`)
	chat := func(model, more string) string { return fmt.Sprintf(sayHi, model, more) }
	retrieving := func(c string) string { return fmt.Sprintf(`,"retrieval":{"collection":%q}`, c) }
	for _, c := range []struct {
		name         string
		key          []string
		method, path string
		body         string
		want         int
	}{
		{"all: chat", everything, "POST", "/v1/chat/completions", chat("small", ""), 200},
		{"scoped: chat", scoped, "POST", "/v1/chat/completions", chat("small", ""), 200},
		{"scoped: chat that retrieves", scoped, "POST", "/v1/chat/completions", chat("small", retrieving("kb")), 403},
		{"scoped: embeddings", scoped, "POST", "/v1/embeddings", `{"model":"small","input":"x"}`, 403},
		{"scoped: list", scoped, "GET", "/v1/models", "", 200},
		{"scoped: get", scoped, "GET", "/v1/models/small", "", 403},
		{"scoped: keys", scoped, "GET", "/v1/admin/api-keys", "", 200},
		{"scoped: a new key", scoped, "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"]}`, 403},
		{"small: its model", small, "POST", "/v1/chat/completions", chat("small", ""), 200},
		{"small: a version", small, "POST", "/v1/chat/completions", chat("small@v3", ""), 200},
		{"small: an alias", small, "GET", "/v1/models/small@stable", "", 200},
		{"small: its collection", small, "POST", "/v1/chat/completions", chat("small", retrieving("kb")), 200},
		{"small: another collection", small, "POST", "/v1/chat/completions", chat("small", retrieving("secret")), 403},
		{"small: streaming", small, "POST", "/v1/chat/completions", chat("other", `,"stream":true`), 403},
		{"small: reranking by another model", small, "POST", "/v1/collections/kb:search", `{"query":"x","rerank":{"model":"other"}}`, 403},
		{"small: search elsewhere", small, "POST", "/v1/collections/secret:search", `{"query":"x"}`, 403},
		{"small: a document elsewhere", small, "GET", "/v1/collections/secret/documents/d", "", 403},
		{"small: tensors of another model", small, "POST", "/v2/models/other/infer", `{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}`, 403},
		{"small: the registry of another model", small, "DELETE", "/v1/registry/models/other", "", 403},
		{"small: all of the registry", small, "GET", "/v1/registry/changes", "", 403},
		{"other: its model that is not", other, "GET", "/v1/models/other", "", 404},
		{"other: another", other, "POST", "/v1/chat/completions", chat("small", ""), 403},
		{"other: by its version", other, "POST", "/v1/chat/completions", chat("small@v3", ""), 403},
		{"other: counting tokens", other, "POST", "/v1/chat/completions", chat("other-small", ""), 403},
	} {
		if a := g.do(c.method, c.path, c.body, c.key...); a.status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.want, a.text)
		}
	}
	// What a key is not for is not told from what is not there.
	there, missing := g.do("GET", "/v1/models/small", "", other...), g.do("GET", "/v1/models/nosuch", "", other...)
	if there.status != 404 || strings.ReplaceAll(there.text, "small", "nosuch") != missing.text && there.at("error", "code") != missing.at("error", "code") {
		t.Errorf("%s\n%s", there.text, missing.text)
	}
	if a := g.do("GET", "/v1/models", "", other...); a.at("data", 0) != nil {
		t.Errorf("a list shows what the key is not for: %s", a.text)
	}
	if a := g.do("GET", "/v1/models", "", small...); a.at("data", 0, "id") != "small" {
		t.Errorf("a list hides what the key is for: %s", a.text)
	}
	a := g.do("GET", "/v1/collections", "", small...)
	if a.at("collections", 0, "id") != "kb" || a.at("collections", 1, "id") != "kb-2" || a.at("collections", 2) != nil || a.at("next_page_token") != "x" {
		t.Errorf("collections: %s", a.text)
	}
	trail := g.do("GET", "/v1/admin/audit?page_size=100", "")
	if !strings.Contains(trail.text, `"error_reason":"PERMISSION_DENIED"`) {
		t.Errorf("no refusal in the trail: %s", trail.text)
	}
}

func TestGrantsAreChecked(t *testing.T) {
	g := open(t, nil)
	for body, field := range map[string]string{
		`{"name":"x","roles":["reader"],"scopes":["model:chatt"]}`:                                             "scopes[0]",
		`{"name":"x","roles":["reader"],"scopes":["*:*","nothing:list"]}`:                                      "scopes[1]",
		`{"name":"x","roles":["reader"],"models":["a@v3"]}`:                                                    "models[0]",
		`{"name":"x","roles":["reader"],"collections":[""]}`:                                                   "collections[0]",
		`{"name":"x","roles":["reader"],"networks":["10.0.0.1/8"]}`:                                            "networks[0]",
		`{"name":"x","roles":["reader"],"networks":["` + strings.Repeat(`10.0.0.0/8","`, 64) + `10.0.0.0/8"]}`: "networks",
		`{"name":"x"}`: "roles",
		`{"name":"x","roles":["reader"],"owner":"a\u0000"}`:      "owner",
		`{"name":"x","service_account":"nobody"}`:                "service_account",
		`{"name":"x","roles":["reader"],"service_account":"a"}`:  "roles",
		`{"name":"x","roles":["reader"],"service_account":"A!"}`: "service_account",
	} {
		if a := g.do("POST", "/v1/admin/api-keys", body); a.status != 400 || a.at("errors", 0, "field") != field {
			t.Errorf("%.90s: %d %s", body, a.status, a.text)
		}
	}
}

func TestNetworksOfAKey(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Limits.TrustedProxies = []string{"127.0.0.0/8"} })
	key, id := g.newKey(`{"name":"n","roles":["reader"],"networks":["192.0.2.0/24","2001:db8::/32"]}`)
	from := func(addr string) answer {
		return g.do("GET", "/v1/models", "", append(key, "X-Forwarded-For", addr)...)
	}
	for addr, want := range map[string]int{
		"192.0.2.77": 200, "2001:db8::1": 200, "::ffff:192.0.2.1": 200, "192.0.3.1": 401, "2001:db9::1": 401, "nonsense": 401,
	} {
		if a := from(addr); a.status != want || strings.Contains(a.text, "192.0.2") {
			t.Errorf("from %s: %d %s", addr, a.status, a.text)
		}
	}
	if a := g.do("GET", "/v1/models", "", key...); a.status != 401 {
		t.Errorf("from the proxy itself: %d", a.status)
	}
	if a := g.do("GET", "/v1/admin/audit?page_size=50", ""); !strings.Contains(a.text, id) {
		t.Errorf("the trail does not name the key: %s", a.text)
	}
}

func TestNobodyGivesMoreThanTheyHave(t *testing.T) {
	g := open(t, nil)
	victim, victimID := g.newKey(`{"name":"wide","roles":["admin"]}`)
	_ = victim
	narrow, narrowID := g.newKey(`{"name":"narrow","roles":["admin"],"models":["small"],"scopes":["api-key:*","service-account:*","model:*"]}`)
	brief, _ := g.newKey(`{"name":"brief","roles":["admin"],"expire_time":"2100-01-01T00:00:00Z"}`)
	for _, c := range []struct {
		name, method, path, body string
		key                      []string
		want                     int
	}{
		{"all", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"]}`, narrow, 403},
		{"all models", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"],"scopes":["model:chat"]}`, narrow, 403},
		{"another", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"],"scopes":["model:chat"],"models":["s*"]}`, narrow, 403},
		{"as much", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"],"scopes":["model:chat"],"models":["small"]}`, narrow, 200},
		{"to oneself", "PATCH", "/v1/admin/api-keys/" + narrowID, `{"api_key":{},"update_mask":"models"}`, narrow, 403},
		{"to oneself, more", "PATCH", "/v1/admin/api-keys/" + narrowID, `{"api_key":{"models":["small","b"]}}`, narrow, 403},
		{"to another", "PATCH", "/v1/admin/api-keys/" + victimID, `{"api_key":{"models":["b"]}}`, narrow, 403},
		{"narrowing another", "PATCH", "/v1/admin/api-keys/" + victimID, `{"api_key":{"scopes":["model:*"]}}`, narrow, 200},
		{"by rotating another", "POST", "/v1/admin/api-keys/" + victimID + ":rotate", `{}`, narrow, 403},
		{"by an account", "POST", "/v1/admin/service-accounts", `{"service_account":{"id":"ci","roles":["reader"]}}`, narrow, 403},
		{"by its own account", "POST", "/v1/admin/service-accounts", `{"service_account":{"id":"own","roles":["reader"],"models":["small"],"scopes":["model:*"]}}`, narrow, 200},
		{"widening it", "PATCH", "/v1/admin/service-accounts/own", `{"service_account":{},"update_mask":"models"}`, narrow, 403},
		{"narrowing it", "PATCH", "/v1/admin/service-accounts/own", `{"service_account":{"scopes":["model:chat"]}}`, narrow, 200},
		{"by time", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"]}`, brief, 403},
		{"in time", "POST", "/v1/admin/api-keys", `{"name":"x","roles":["reader"],"expire_time":"2099-01-01T00:00:00Z"}`, brief, 200},
		{"by rotating for longer", "POST", "/v1/admin/api-keys/" + victimID + ":rotate", `{}`, brief, 403},
	} {
		if a := g.do(c.method, c.path, c.body, c.key...); a.status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.want, a.text)
		}
	}
}

func TestKeysChange(t *testing.T) {
	g := open(t, nil)
	key, id := g.newKey(`{"name":"k","roles":["reader"],"owner":"team@example.org"}`)
	path := "/v1/admin/api-keys/" + id
	first := g.do("GET", path, "")
	tag, _ := first.at("etag").(string)
	if first.at("owner") != "team@example.org" || first.at("state") != "API_KEY_STATE_ACTIVE" || first.at("creator") != "admin" || tag == "" {
		t.Fatalf("%s", first.text)
	}
	a := g.do("PATCH", path, `{"api_key":{"name":"n","scopes":["model:list"]},"etag":"`+tag+`"}`)
	if a.status != 200 || a.at("name") != "n" || a.at("scopes", 0) != "model:list" || a.at("owner") != "team@example.org" || a.at("update_time") == nil {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models/small", "", key...); a.status != 403 {
		t.Errorf("the change does not hold: %d", a.status)
	}
	if a := g.do("PATCH", path, `{"api_key":{"name":"m"},"etag":"`+tag+`"}`); a.status != 409 {
		t.Errorf("an old etag: %d %s", a.status, a.text)
	}
	for body, field := range map[string]string{
		`{"api_key":{"roles":["admin"]},"update_mask":"roles"}`:    "update_mask",
		`{"api_key":{"tenant":"x"}}`:                               "update_mask",
		`{"api_key":{},"update_mask":"name"}`:                      "api_key.name",
		`{"api_key":{"requests_per_minute":-1}}`:                   "api_key.requests_per_minute",
		`{"api_key":{"scopes":["x:y"]}}`:                           "api_key.scopes[0]",
		`{"api_key":{"expire_time":"2001-01-01T00:00:00Z"}}`:       "expire_time",
		`{"api_key":{"name":"` + strings.Repeat("n", 257) + `"}}`:  "api_key.name",
		`{"api_key":{"owner":"` + strings.Repeat("n", 257) + `"}}`: "api_key.owner",
		`{"update_mask":"name"}`:                                   "api_key",
	} {
		if a := g.do("PATCH", path, body); a.status != 400 || a.at("errors", 0, "field") != field {
			t.Errorf("%.80s: %d %s", body, a.status, a.text)
		}
	}
	if a := g.do("PATCH", path, `{"api_key":{},"update_mask":"scopes,owner"}`); a.status != 200 || a.at("owner") != "" && a.at("owner") != nil {
		t.Errorf("emptied: %d %s", a.status, a.text)
	}
	rotated := g.do("POST", path+":rotate", `{"overlap":"3600s"}`)
	text, _ := rotated.at("key").(string)
	if rotated.status != 200 || !strings.Contains(text, id) || rotated.at("api_key", "previous_secret_expire_time") == nil {
		t.Fatalf("%d %s", rotated.status, rotated.text)
	}
	for _, k := range [][]string{key, {"Authorization", "Bearer " + text}} {
		if a := g.do("GET", "/v1/models", "", k...); a.status != 200 {
			t.Errorf("in the overlap: %d", a.status)
		}
	}
	for _, overlap := range []string{"-1s", "7776001s"} {
		if a := g.do("POST", path+":rotate", `{"overlap":"`+overlap+`"}`); a.status != 400 {
			t.Errorf("an overlap of %s: %d %s", overlap, a.status, a.text)
		}
	}
	for query, n := range map[string]int{
		"": 2, "?state=API_KEY_STATE_REVOKED": 0, "?subject=key-" + id: 1, "?owner=nobody": 0, "?tenant=acme": 0, "?tenant=default": 2,
		"?unused_since=2001-01-01T00:00:00Z": 0, "?unused_since=2100-01-01T00:00:00Z": 2, "?service_account=ci": 0,
	} {
		a := g.do("GET", "/v1/admin/api-keys"+query, "")
		if list, _ := a.at("api_keys").([]any); a.status != 200 || len(list) != n {
			t.Errorf("%q: %d %s", query, a.status, a.text)
		}
	}
}

func TestServiceAccounts(t *testing.T) {
	g := open(t, nil)
	const path = "/v1/admin/service-accounts"
	a := g.do("POST", path, `{"service_account":{"id":"ci","display_name":"CI","roles":["reader"],"models":["small"],"owner":"team"}}`)
	if a.status != 200 || a.at("id") != "ci" || a.at("tenant") != "default" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("POST", path, `{"service_account":{"id":"ci","roles":["reader"]}}`); a.status != 409 {
		t.Errorf("again: %d", a.status)
	}
	key, id := g.newKey(`{"name":"k","service_account":"ci"}`)
	if a := g.do("POST", "/v1/admin/api-keys", `{"name":"k","service_account":"ci","models":["other"]}`); a.status != 400 {
		t.Errorf("beyond its account: %d %s", a.status, a.text)
	}
	works := func(want int) {
		t.Helper()
		if a := g.do("GET", "/v1/models/small", "", key...); a.status != want {
			t.Errorf("%d, want %d: %s", a.status, want, a.text)
		}
	}
	works(200)
	for _, step := range []struct {
		method, path, body string
		status, then       int
	}{
		{"POST", path + "/ci:disable", `{}`, 200, 401},
		{"POST", path + "/ci:disable", `{}`, 200, 401},
		{"POST", path + "/ci:enable", `{}`, 200, 200},
		{"PATCH", path + "/ci", `{"service_account":{"models":["other"]}}`, 200, 404},
		{"PATCH", path + "/ci", `{"service_account":{},"update_mask":"models"}`, 200, 200},
		{"PATCH", path + "/ci", `{"service_account":{"roles":["nobody"]}}`, 400, 200},
		{"PATCH", path + "/ci", `{"service_account":{"disabled":true},"update_mask":"disabled"}`, 400, 200},
		{"DELETE", path + "/ci", "", 400, 200},
		{"DELETE", path + "/ci?force=true", "", 200, 401},
		{"GET", path + "/ci", "", 404, 401},
	} {
		if a := g.do(step.method, step.path, step.body); a.status != step.status {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, a.status, a.text)
		}
		works(step.then)
	}
	if a := g.do("GET", "/v1/admin/api-keys/"+id, ""); a.at("state") != "API_KEY_STATE_REVOKED" {
		t.Errorf("%s", a.text)
	}
}

func TestServiceAccountsOfOtherTenants(t *testing.T) {
	g := open(t, nil)
	const path = "/v1/admin/service-accounts"
	boss, _ := g.newKey(`{"name":"b","tenant":"acme","roles":["admin"]}`)
	for _, tenant := range []string{"acme", "globex"} {
		if a := g.do("POST", path, `{"service_account":{"id":"ci","tenant":"`+tenant+`","roles":["reader"]}}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", path + "/ci", "", 200},
		{"GET", path + "/ci?tenant=globex", "", 404},
		{"GET", path + "/nobody?tenant=globex", "", 404},
		{"PATCH", path + "/ci", `{"tenant":"globex","service_account":{"owner":"me"}}`, 404},
		{"POST", path + "/ci:disable", `{"tenant":"globex"}`, 404},
		{"DELETE", path + "/ci?tenant=globex&force=true", "", 404},
		{"POST", path, `{"service_account":{"id":"x","tenant":"globex","roles":["reader"]}}`, 403},
		{"POST", "/v1/admin/api-keys", `{"name":"x","tenant":"globex","service_account":"ci"}`, 403},
	} {
		if a := g.do(c.method, c.path, c.body, boss...); a.status != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.text)
		}
	}
	mine, all := g.do("GET", path, "", boss...), g.do("GET", path+"?page_size=1", "")
	if list, _ := mine.at("service_accounts").([]any); len(list) != 1 || strings.Contains(mine.text, "globex") {
		t.Errorf("%s", mine.text)
	}
	token, _ := all.at("next_page_token").(string)
	if next := g.do("GET", path+"?page_size=1&page_token="+token, ""); next.at("service_accounts", 0, "tenant") != "globex" {
		t.Errorf("%s\n%s", all.text, next.text)
	}
	if a := g.do("GET", path+"?tenant=globex", "", boss...); a.status != 200 || a.at("service_accounts", 0) != nil {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestLeakedKeys(t *testing.T) {
	g := open(t, nil)
	found, id := g.newKey(`{"name":"leaked","tenant":"acme","roles":["reader"],"owner":"team@acme"}`)
	_, other := g.newKey(`{"name":"fine","roles":["reader"]}`)
	scanner, _ := g.newKey(`{"name":"s","roles":["scanner"]}`)
	foreign, _ := g.newKey(`{"name":"s","tenant":"globex","roles":["scanner"]}`)
	reader, _ := g.newKey(`{"name":"r","roles":["reader"]}`)
	text := strings.TrimPrefix(found[1], "Bearer ")
	ask := func(key []string, revoke bool, texts ...string) answer {
		body, err := json.Marshal(map[string]any{"texts": texts, "revoke": revoke})
		if err != nil {
			t.Fatal(err)
		}
		return g.do("POST", "/v1/admin/api-keys:checkLeaked", string(body), key...)
	}
	wrong := text[:len(text)-1] + "!"
	if a := ask(reader, false, text); a.status != 403 {
		t.Errorf("a reader asks: %d", a.status)
	}
	if a := ask(foreign, true, text); a.status != 200 || a.at("results", 0, "found") == true || a.at("results", 0, "id") != nil && a.at("results", 0, "id") != "" {
		t.Errorf("another tenant's scanner: %s", a.text)
	}
	a := ask(scanner, false, "nothing", wrong, text, text)
	for i, want := range []string{"<nil> <nil>", "<nil> <nil>", "true true", "true true"} {
		if got := strings.ReplaceAll(fmt.Sprint(a.at("results", i, "well_formed"), " ", a.at("results", i, "found")), "false", "<nil>"); got != want {
			t.Errorf("%d: %s: %s", i, got, a.text)
		}
	}
	if strings.Contains(a.text, "team@acme") || a.at("results", 2, "id") != id || a.at("results", 2, "revoked") == true {
		t.Errorf("%s", a.text)
	}
	if a := g.do("GET", "/v1/models", "", found...); a.status != 200 {
		t.Errorf("asking alone has ended it: %d", a.status)
	}
	if a := ask(scanner, true, text); a.at("results", 0, "revoked") != true || a.at("results", 0, "state") != "API_KEY_STATE_REVOKED" {
		t.Errorf("%s", a.text)
	}
	if a := g.do("GET", "/v1/models", "", found...); a.status != 401 {
		t.Errorf("it holds still: %d", a.status)
	}
	// The administrator may read the key, and so learns whose it is.
	if a := ask([]string{"Authorization", "Bearer " + g.key}, true, text); a.at("results", 0, "api_key", "owner") != "team@acme" || a.at("results", 0, "revoked") == true {
		t.Errorf("%s", a.text)
	}
	trail := g.do("GET", "/v1/admin/audit?page_size=100", "")
	if n := strings.Count(trail.text, `"resource":"api-key/`+id+`"`); n < 3 || strings.Contains(trail.text, text) || strings.Count(trail.text, "api-key/"+other) != 1 {
		t.Errorf("%d records of the key: %s", n, trail.text)
	}
	for name, texts := range map[string][]string{"none": {}, "too many": make([]string, 1001), "too long": {strings.Repeat("x", 513)}} {
		if a := ask(scanner, false, texts...); a.status != 400 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if a := ask(scanner, false, make([]string, 1000)...); a.status != 200 {
		t.Errorf("a thousand: %d", a.status)
	}
	if a := g.do("POST", "/v1/admin/api-keys:checkLeaked", `{"texts":["x"]}`, "Authorization", ""); a.status != 401 {
		t.Errorf("nobody asks: %d", a.status)
	}
}
