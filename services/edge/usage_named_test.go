package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Who mistypes a key, a tenant or a group is told so: a budget of what is not there would
// never apply.
func TestBudgetsOfNobody(t *testing.T) {
	g := open(t, nil)
	g.run()
	key := func(tenant, role string) (id string, auth []string) {
		t.Helper()
		a := g.do("POST", "/v1/admin/api-keys", fmt.Sprintf(`{"name":"k","tenant":%q,"roles":[%q],"groups":["lab"]}`, tenant, role))
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		return text(a.at("api_key", "id")), []string{"Authorization", "Bearer " + text(a.at("key"))}
	}
	own, admin := key("acme", "admin")
	others, _ := key("other", "reader")
	revoked, _ := key("acme", "reader")
	if a := g.do("DELETE", "/v1/admin/api-keys/"+revoked, ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	set := func(scope, name, more string, as ...string) answer {
		t.Helper()
		return g.do("POST", "/v1/admin/budgets", fmt.Sprintf(`{%s"budget":{"id":"b-%s","scope":%q,"scope_name":%q,"period":"day","unit":"tokens","amount":1,"warnings":[50]}}`,
			more, strings.ToLower(scope+name), scope, name), as...)
	}

	none, theirs := set("key", "nosuchkey", "", admin...), set("key", others, "", admin...)
	for _, a := range []answer{none, theirs} {
		if a.status != http.StatusBadRequest || a.at("errors", 0, "field") != "budget.scope_name" {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	if a, b := text(none.at("detail")), strings.Replace(text(theirs.at("detail")), others, "nosuchkey", 1); a == "" || a != b {
		t.Errorf("another tenant's key is told apart from none: %q, %q", a, b)
	}
	if a := set("key", others, ""); a.status != http.StatusBadRequest || !strings.Contains(text(a.at("detail")), `"other"`) {
		t.Errorf("the platform is not told whose key it is: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/admin/budgets", "", admin...); a.at("budgets", 0) != nil {
		t.Errorf("set all the same: %s", a.text)
	}

	idle := g.do("POST", "/v1/admin/budgets", `{"tenant":"acme","budget":{"id":"idle","scope":"tenant","period":"day","unit":"tokens","amount":1}}`)
	for name, c := range map[string]struct {
		a       answer
		warning string // "": there is none
	}{
		"neither hard nor with warnings": {idle, "refuses nothing"},
		"a key":                          {set("key", own, "", admin...), ""},
		"a revoked key":                  {set("key", revoked, "", admin...), "was revoked"},
		"a group":                        {set("team", "lab", "", admin...), ""},
		"a group of nobody":              {set("team", "lub", "", admin...), `in the group "lub"`},
		"a tenant":                       {set("tenant", "", `"tenant":"acme",`), ""},
		"a tenant of nobody":             {set("tenant", "", `"tenant":"acne",`), `the tenant "acne"`},
	} {
		if c.a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, c.a.status, c.a.text)
		}
		if warning := c.a.at("warnings", 0); (warning != nil) != (c.warning != "") || !strings.Contains(text(warning), c.warning) || c.a.at("warnings", 1) != nil {
			t.Errorf("%s: %s", name, c.a.text)
		}
	}
}
