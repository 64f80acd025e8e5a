package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge"
)

const usageChat = `{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`

// What is used is billed, counted against budgets, and told to whom it belongs.
func TestUsageOverREST(t *testing.T) {
	g := open(t, nil)
	g.run()
	must := func(method, path, body string, pairs ...string) answer {
		t.Helper()
		a := g.do(method, path, body, pairs...)
		if a.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.text)
		}
		return a
	}
	key := func(tenant, role string) []string {
		a := must("POST", "/v1/admin/api-keys", fmt.Sprintf(`{"name":"k","tenant":%q,"subject":"ada","roles":[%q],"groups":["lab"]}`, tenant, role))
		return []string{"Authorization", "Bearer " + text(a.at("key"))}
	}
	admin, reader := key("acme", "admin"), key("acme", "reader")

	must("POST", "/v1/chat/completions", usageChat, reader...)
	must("POST", "/v1/admin/prices", `{"price":{"model":"small@v3","rates":{"input":1000000,"output":2000000}}}`)
	if a := must("POST", "/v1/chat/completions", usageChat, reader...); a.header.Get("X-Poterne-Cost") != "0.000011 USD" {
		t.Errorf("the cost is %q", a.header.Get("X-Poterne-Cost"))
	}
	must("POST", "/v1/chat/completions", strings.Replace(usageChat, `{`, `{"stream":true,`, 1), reader...)
	if a := must("GET", "/v1/usage", "", reader...); a.at("total", "requests") != 3.0 || a.at("total", "cost") != 22.0 || a.at("total", "unpriced_requests") != 1.0 ||
		a.at("models", 0, "model") != "small" || a.at("currency") != "USD" {
		t.Errorf("the own usage: %s", a.text)
	}
	costs := `/v1/admin/audit?filter=cost_micros%3D11%20AND%20currency%3D%22USD%22`
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(10 * time.Millisecond) { // of a call the record comes within a second
		a := must("GET", costs, "", admin...)
		if recs, _ := a.at("records").([]any); len(recs) == 2 && at(recs, 0, "currency") == "USD" && at(recs, 1, "cost_micros") == 11.0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what calls cost is not in the trail: %s", a.text)
		}
	}
	if a := must("GET", "/v1/usage", "", admin...); a.at("total", "requests") != 0.0 {
		t.Errorf("another key's usage: %s", a.text)
	}

	// A team's budget, set by the tenant, and one by the platform.
	budget := `{"budget":{"id":"lab","scope":"team","scope_name":"lab","period":"month","unit":"money","amount":500,"warnings":[10],"hard":true}}`
	must("POST", "/v1/admin/budgets", budget, admin...)
	must("POST", "/v1/admin/budgets", `{"tenant":"acme","budget":{"id":"cap","scope":"tenant","period":"total","unit":"tokens","amount":1000000,"hard":true}}`)
	for i := range 9 {
		a := must("POST", "/v1/chat/completions", usageChat, reader...)
		if warned := a.header.Get("X-Poterne-Budget"); (warned != "") != (i >= 5) {
			t.Errorf("request %d is warned %q", i, warned)
		}
	}
	must("POST", "/v1/admin/budgets", strings.Replace(budget, "500", "99", 1), admin...)
	a := g.do("POST", "/v1/chat/completions", usageChat, reader...)
	if a.status != http.StatusTooManyRequests || a.at("error", "type") != "insufficient_quota" || a.at("error", "code") != "insufficient_quota" ||
		!strings.Contains(text(a.at("error", "message")), `"lab"`) || a.header.Get("Retry-After") == "" {
		t.Errorf("a budget that is used up: %d %s", a.status, a.text)
	}
	a = must("GET", "/v1/admin/budgets/lab", "", admin...)
	if a.at("budget", "standing", "settled") != 99.0 || a.at("budget", "standing", "remaining") != 0.0 {
		t.Errorf("%s", a.text)
	}
	if a := g.do("DELETE", "/v1/admin/budgets/cap", "", admin...); a.status != http.StatusForbidden {
		t.Errorf("the platform's budget is deleted by its tenant: %d %s", a.status, a.text)
	}
	must("DELETE", "/v1/admin/budgets/lab", "", admin...)
	must("POST", "/v1/chat/completions", usageChat, reader...)

	// Sums, and as CSV.
	a = must("GET", "/v1/admin/usage?group_by=model&group_by=version&group_by=arm&group_by=day", "", admin...)
	if a.at("rows", 0, "requests") != 13.0 || a.at("rows", 0, "version") != 3.0 || a.at("rows", 0, "arm") != "canary" || a.at("rows", 0, "input_tokens") != 91.0 || a.at("rows", 1) != nil {
		t.Errorf("%s", a.text)
	}
	a = must("GET", "/v1/admin/usage:export?group_by=tenant", "", admin...)
	if a.text != "tenant,requests,partial_requests,unpriced_requests,input_tokens,cached_tokens,output_tokens,cost,currency,cache_hits,saved_input_tokens,saved_output_tokens,reasoning_tokens,audio_input_tokens,audio_output_tokens,documents\nacme,13,0,1,91,0,26,0.000132,USD,0,0,0,0,0,0,0\n" ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") {
		t.Errorf("%v %s", a.header, a.text)
	}
	if a := must("POST", "/v1/admin/usage:check", `{}`); a.at("adds_up") != true || a.at("requests") != 13.0 {
		t.Errorf("%s", a.text)
	}

	// What is whose.
	for _, q := range []struct {
		method, path, body string
		as                 []string
	}{
		{"GET", "/v1/admin/usage", "", reader},
		{"GET", "/v1/admin/usage?tenant=default", "", admin},
		{"GET", "/v1/admin/usage:export?tenant=default", "", admin},
		{"POST", "/v1/admin/usage:check", "{}", admin},
		{"POST", "/v1/admin/prices", `{"price":{"model":"x","rates":{}}}`, admin},
		{"GET", "/v1/admin/budgets?tenant=default", "", admin},
		{"POST", "/v1/admin/budgets", strings.Replace(budget, `{`, `{"tenant":"default",`, 1), admin},
		{"GET", "/v1/admin/budgets", "", reader},
	} {
		if a := g.do(q.method, q.path, q.body, q.as...); a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", q.method, q.path, a.status, a.text)
		}
	}
}

func TestUsageRefusesRubbish(t *testing.T) {
	g := open(t, nil)
	price := func(fields string) string { return `{"price":{` + fields + `}}` }
	budget := func(more string) string {
		return `{"budget":{"id":"a","scope":"tenant","period":"day","unit":"tokens","amount":1` + more + `}}`
	}
	for _, q := range []struct{ method, path, body string }{
		{"GET", "/v1/admin/usage?group_by=colour", ""},
		{"GET", "/v1/admin/usage?group_by=day&group_by=hour", ""},
		{"GET", "/v1/admin/usage?page_token=x", ""},
		{"GET", "/v1/admin/usage?page_token=-1", ""},
		{"GET", "/v1/admin/usage?from=yesterday", ""},
		{"GET", "/v1/admin/usage?from=1960-01-01T00:00:00Z", ""},
		{"GET", "/v1/admin/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", ""},
		{"GET", "/v1/admin/usage?from=1980-01-01T00:00:00Z", ""},
		{"GET", "/v1/admin/usage?model=a%40prod", ""},
		{"GET", "/v1/admin/usage?tenant=%00", ""},
		{"GET", "/v1/admin/usage:export?what=1", ""},
		{"GET", "/v1/admin/usage:export?group_by=x", ""},
		{"GET", "/v1/usage?from=x", ""},
		{"POST", "/v1/admin/usage:check", `{"from":"2020-01-01T00:00:00Z"}`},
		{"POST", "/v1/admin/prices", `{}`},
		{"POST", "/v1/admin/prices", price(`"model":"a b","rates":{}`)},
		{"POST", "/v1/admin/prices", price(`"model":"a"`)},
		{"POST", "/v1/admin/prices", price(`"model":"a\u0085","rates":{}`)},
		{"POST", "/v1/admin/prices", price(`"model":"a","variant":"q\u009f","rates":{}`)},
		{"POST", "/v1/admin/budgets", `{"budget":{"id":"a","scope":"team","scope_name":"lab\u0085","period":"day","unit":"tokens","amount":1}}`},
		{"PUT", "/v1/admin/limits/few", `{"limit":{"kind":"LIMIT_KIND_REQUESTS","amount":1,"match":{"models":["a\u0080"]}}}`},
		{"PUT", "/v1/admin/routes/few", `{"route":{"match":{"models":["a\u0080"]},"model":"b"}}`},
		{"PUT", "/v1/admin/routes/few", `{"route":{"model":"b\u009f"}}`},
		{"POST", "/v1/admin/prices", price(`"model":"a","rates":{"input":-1}`)},
		{"POST", "/v1/admin/prices", price(`"model":"a","rates":{},"currency":"EUR"`)},
		{"POST", "/v1/admin/prices", price(`"model":"a","rates":{},"valid_from":"2020-01-01T00:00:00Z"`)},
		{"POST", "/v1/admin/budgets", budget(`,"scope_name":"x"`)},
		{"POST", "/v1/admin/budgets", budget(`,"warnings":[9,8]`)},
		{"POST", "/v1/admin/budgets", budget(`,"tenant":"acme"`)},
		{"POST", "/v1/admin/budgets", budget(`,"id":"A"`)},
		{"POST", "/v1/admin/budgets", `{"budget":{"id":"a","scope":"key","period":"day","unit":"tokens","amount":1}}`},
		{"POST", "/v1/admin/budgets", `{"budget":{"id":"a"}}`},
		{"GET", "/v1/admin/budgets?page_token=!", ""},
	} {
		if a := g.do(q.method, q.path, q.body); a.status != http.StatusBadRequest {
			t.Errorf("%s %s %s: %d %s", q.method, q.path, q.body, a.status, a.text)
		}
	}
	if a := g.do("POST", "/v1/admin/budgets", budget(`,"tenant":"acme"`)); a.at("errors", 0, "field") != "budget.tenant" {
		t.Errorf("another tenant's: %s", a.text)
	}
	if a := g.do("POST", "/v1/admin/budgets", budget(`,"tenant":"default"`)); a.status != http.StatusOK || a.at("budget", "tenant") != "default" {
		t.Errorf("the caller's own tenant: %d %s", a.status, a.text)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if a := g.do(method, "/v1/admin/budgets/none", ""); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", method, a.status, a.text)
		}
	}
}

func TestUsageIsOff(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Usage.Enabled = false })
	if a := g.do("POST", "/v1/chat/completions", usageChat); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/usage", ""); a.status != http.StatusNotImplemented {
		t.Errorf("%d %s", a.status, a.text)
	}
}
