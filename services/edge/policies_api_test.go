package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

const policiesPath = "/v1/admin/policies"

// keyFor makes a key, and returns what do takes to show it.
func (g *gate) keyFor(tenant, role string, groups ...string) []string {
	g.t.Helper()
	list := ""
	if len(groups) > 0 {
		list = `"` + strings.Join(groups, `","`) + `"`
	}
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"x","tenant":"`+tenant+`","roles":["`+role+`"],"groups":[`+list+`]}`)
	key, _ := a.at("key").(string)
	if key == "" {
		g.t.Fatalf("no key: %s", a.text)
	}
	return []string{"Authorization", "Bearer " + key}
}

func (g *gate) apply(want int, body string, as ...string) answer {
	g.t.Helper()
	a := g.do("POST", policiesPath+"/versions", body, as...)
	if a.status != want {
		g.t.Fatalf("%s: status %d, want %d: %s", body, a.status, want, a.text)
	}
	return a
}

const chatBody = `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`

func TestPolicyOverREST(t *testing.T) {
	g := open(t, nil)
	intern := g.keyFor("acme", "reader", "interns")
	for _, c := range g.Readiness().Report().Checks {
		if c.Name == edge.CheckPolicies && !c.Ready {
			t.Errorf("readiness says %+v", c)
		}
	}
	if a := g.do("POST", chatPath, chatBody, intern...); a.status != http.StatusOK || a.header.Get("X-Poterne-Policy") != "" {
		t.Fatalf("before there is a policy: %d: %s", a.status, a.text)
	}
	a := g.apply(http.StatusOK, `{"activate":true,"message":"short","document":{"rules":[
		{"id":"short","subject":"group:interns","scope":"any","type":"model","action":"chat","effect":"allow","obligations":{"max_tokens":5}}],
		"cases":[{"name":"short","caller":{"tenant":"acme","groups":["interns"]},"action":"chat","resource":{"type":"model","id":"small"},"expect":"allow","obligations":{"max_tokens":5}}]}}`)
	if a.at("version", "version") != "1" && a.at("version", "version") != 1.0 {
		t.Errorf("made %s", a.text)
	}
	if a := g.do("POST", chatPath, chatBody, intern...); a.header.Get("X-Poterne-Policy") != "max_tokens=5" || g.inference.last(t)["max_tokens"] != 5.0 {
		t.Errorf("the policy does not hold at once: %v", a.header)
	}
	// Everything that is wrong is told, and nothing is kept.
	a = g.apply(http.StatusBadRequest, `{"activate":true,"document":{"rules":[{"subject":"public","type":"colection","effect":"deny"},{"subject":"x","effect":"deny"}]}}`)
	if !strings.Contains(a.text, "colection") || !strings.Contains(a.text, "rule-2") {
		t.Errorf("told: %s", a.text)
	}
	a = g.apply(http.StatusBadRequest, `{"document":{"cases":[
		{"name":"one","action":"chat","resource":{"type":"model"},"expect":"allow"},{"name":"two","caller":{"roles":["reader"]},"action":"chat","resource":{"type":"model"},"expect":"deny"}]}}`)
	if !strings.Contains(a.text, "one") || !strings.Contains(a.text, "two") {
		t.Errorf("told: %s", a.text)
	}
	// Nobody locks themselves out by accident.
	lockout := `{"activate":true,%s"source":"p, role:admin, any, policy, *, create|activate, true, deny\n"}`
	a = g.apply(http.StatusBadRequest, strings.Replace(lockout, "%s", "", 1))
	if !strings.Contains(a.text, "force") {
		t.Errorf("told: %s", a.text)
	}
	g.apply(http.StatusOK, strings.Replace(lockout, "%s", `"force":true,`, 1))
	g.apply(http.StatusForbidden, `{"document":{}}`)
}

func TestPolicyOfATenant(t *testing.T) {
	g := open(t, nil)
	admin, reader, other := g.keyFor("acme", "admin"), g.keyFor("acme", "reader"), g.keyFor("globex", "reader")
	g.apply(http.StatusOK, `{"activate":true,"source":"p, public, any, model, banned, *, resource_id == 'banned', deny\n"}`)
	g.apply(http.StatusOK, `{"activate":true,"document":{"rules":[{"id":"closed","subject":"role:reader","type":"model","resource":"small","effect":"deny"},
		{"id":"open","subject":"public","type":"model","resource":"banned","effect":"allow"}]}}`, admin...)
	if a := g.do("POST", chatPath, chatBody, reader...); a.status != http.StatusForbidden || strings.Contains(a.text, "closed") {
		t.Errorf("acme's reader: %d: %s", a.status, a.text)
	}
	if a := g.do("POST", chatPath, chatBody, other...); a.status != http.StatusOK {
		t.Errorf("globex's reader: %d: %s", a.status, a.text)
	}
	if a := g.do("POST", chatPath, strings.Replace(chatBody, "small", "banned", 1), reader...); a.status != http.StatusForbidden {
		t.Errorf("what the platform denies: %d: %s", a.status, a.text)
	}
	// No further than its own tenant, whichever way.
	g.apply(http.StatusBadRequest, `{"document":{"rules":[{"subject":"public","scope":"any","effect":"allow"}]}}`, admin...)
	g.apply(http.StatusForbidden, `{"tenant":"globex","document":{}}`, admin...)
	g.apply(http.StatusForbidden, `{"tenant":"default","document":{}}`, admin...)
	g.apply(http.StatusForbidden, `{"document":{}}`, reader...)
	for _, path := range []string{"", "/versions", "/versions/1", ":dryRun"} {
		if a := g.do("GET", policiesPath+path+"?tenant=default", "", admin...); a.status != http.StatusForbidden {
			t.Errorf("GET %s of the platform: %d: %s", path, a.status, a.text)
		}
	}
	if a := g.do("POST", policiesPath+":test", `{"cases":[{"caller":{"tenant":"globex"},"action":"chat","resource":{"type":"model"}}]}`, admin...); a.at("results", 0, "decision") != "" {
		t.Errorf("acme's admin asks about globex: %s", a.text)
	}
	// A tenant sees that a rule of the platform decides, and nothing else of it.
	a := g.do("POST", policiesPath+":explain", `{"case":{"caller":{"roles":["reader"]},"action":"chat","resource":{"type":"model","id":"banned"}}}`, admin...)
	if a.status != http.StatusOK || a.at("decision") != "deny" || a.at("rule") != "default@1/line-1" || strings.Contains(a.text, "resource_id") {
		t.Errorf("explained: %d: %s", a.status, a.text)
	}
	a = g.do("POST", policiesPath+":explain", `{"case":{"caller":{"roles":["reader"]},"action":"chat","resource":{"type":"model","id":"small"}}}`, admin...)
	if a.at("rule") != "acme@1/closed" || a.at("rules", 1, "subject") != "role:reader" {
		t.Errorf("explained: %s", a.text)
	}
}

func TestPolicyDryRun(t *testing.T) {
	g := open(t, nil)
	reader := g.keyFor("acme", "reader")
	g.apply(http.StatusOK, `{"document":{"rules":[{"id":"shut","subject":"role:reader","scope":"any","type":"model","action":"chat","effect":"deny"}]}}`)
	if a := g.do("POST", policiesPath+":dryRun", `{"version":1}`); a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	for range 3 {
		if a := g.do("POST", chatPath, chatBody, reader...); a.status != http.StatusOK {
			t.Fatalf("what is tried has influence: %d: %s", a.status, a.text)
		}
	}
	a := g.do("GET", policiesPath+":dryRun", "")
	for _, c := range []struct {
		field string
		want  string
	}{{"decision", "allow"}, {"new_decision", "deny"}, {"new_rule", "default@1/shut"}, {"tenant", "acme"}, {"action", "chat"}, {"resource", "model/small"}} {
		if a.at("differences", 0, c.field) != c.want {
			t.Errorf("%s is %v, want %s: %s", c.field, a.at("differences", 0, c.field), c.want, a.text)
		}
	}
	if list, _ := a.at("differences").([]any); len(list) != 3 {
		t.Errorf("%d differences: %s", len(list), a.text)
	}
	if a := g.do("POST", policiesPath+":dryRun", `{"version":0}`); a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	a = g.do("GET", policiesPath+":dryRun", "")
	if list, _ := a.at("differences").([]any); len(list) != 0 {
		t.Errorf("it goes on: %s", a.text)
	}
}
