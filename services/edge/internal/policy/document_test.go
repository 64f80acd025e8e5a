package policy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

const sample = `
description: interns
rules:
  - {id: short, subject: "group:interns", scope: any, type: model, action: chat|complete, condition: hour < 18, effect: allow, obligations: {max_tokens: 5, review: true}}
  - {subject: "group:interns", scope: any, type: collection, resource: secret*, effect: deny}
roles:
  - {member: "group:ops", role: "role:operator", tenant: "*"}
cases:
  - name: morning
    caller: {tenant: acme, groups: [interns]}
    action: chat
    resource: {type: model, id: m}
    context: {time: "2026-01-05T09:00:00Z"}
    expect: allow
    rule: short
    obligations: {max_tokens: 5, review: true}
`

func space(tb testing.TB) Space {
	tb.Helper()
	p, err := authz.DefaultPolicy()
	if err != nil {
		tb.Fatal(err)
	}
	base, err := authz.CompileLayer(authz.BaseLayer, p)
	if err != nil {
		tb.Fatal(err)
	}
	return Space{Platform: "default", Base: base}
}

func TestForms(t *testing.T) {
	yaml, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(jsonText(yaml))
	if err != nil || !proto.Equal(yaml, again) {
		t.Errorf("JSON is read in another way: %v\n%v", err, again)
	}
	lines, err := Parse("# old\np, group:interns, any, model, *, chat, hour < 18, allow, max_tokens=5 review\ng, group:ops, role:operator, *\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &edgev1.PolicyRule{
		Id: "line-2", Subject: "group:interns", Scope: "any", Type: "model", Resource: "*", Action: "chat", Condition: "hour < 18", Effect: Allow,
		Obligations: &edgev1.PolicyObligations{MaxTokens: 5, Review: true},
	}
	if len(lines.GetRules()) != 1 || !proto.Equal(lines.GetRules()[0], want) || len(lines.GetRoles()) != 1 {
		t.Errorf("%v", lines)
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	s := space(t)
	for name, c := range map[string]struct{ tenant, text, tells string }{
		"no YAML":              {"default", "rules: [", "read the document"},
		"an unknown key":       {"default", "rulez: []", "rulez"},
		"an unknown key below": {"default", "rules: [{subjct: public}]", "subjct"},
		"two documents":        {"default", "rules: []\n---\nrules: []", "second"},
		"an unknown type":      {"default", `rules: [{subject: public, type: colection, effect: deny}]`, "colection"},
		"an unknown action":    {"default", `rules: [{subject: public, type: model, action: caht, effect: deny}]`, "caht"},
		"no subject":           {"default", `rules: [{effect: deny}]`, "field"},
		"no effect":            {"default", `rules: [{subject: public}]`, "field"},
		"an unknown variable":  {"default", `rules: [{subject: public, condition: pepper == 'x', effect: deny}]`, "pepper"},
		"one id twice":         {"default", `rules: [{id: a, subject: public, effect: deny}, {id: a, subject: public, effect: allow}]`, "another one"},
		"an odd id":            {"default", `rules: [{id: "a/b", subject: public, effect: deny}]`, "id has"},
		"a deny that obliges":  {"default", `rules: [{subject: public, effect: deny, obligations: {review: true}}]`, "obligations"},
		"a role that is none":  {"default", `roles: [{member: "user:a", role: admin}]`, "role 1"},
		"any for a tenant":     {"acme", `rules: [{subject: public, scope: any, effect: allow}]`, "scope"},
		"another tenant's":     {"acme", `rules: [{subject: public, scope: globex, effect: allow}]`, "scope"},
		"roles elsewhere":      {"acme", `roles: [{member: "user:a", role: "role:b", tenant: "*"}]`, "own tenant"},
		"without base":         {"acme", `without_base: true`, "without_base"},
	} {
		doc, err := Parse(c.text)
		if err == nil {
			if err = s.Check(c.tenant, doc); err == nil {
				_, err = s.compile(c.tenant, "x@1", doc)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.tells) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEverythingThatIsWrongIsTold(t *testing.T) {
	doc, err := Parse(`rules: [{subject: public, type: colection, effect: deny}, {subject: x, effect: deny}, {subject: public, effect: maybe}]`)
	if err != nil {
		t.Fatal(err)
	}
	err = space(t).Check("default", doc)
	for _, rule := range []string{"rule rule-1", "rule rule-2", "rule rule-3"} {
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("%s is not told of: %v", rule, err)
		}
	}
}

func snapshotOf(tb testing.TB, s Space, tenant string, doc *Document) *authz.Snapshot {
	tb.Helper()
	c, err := s.compile(tenant, Name(tenant, 1), doc)
	if err != nil {
		tb.Fatal(err)
	}
	snapshot, err := authz.NewSnapshot(s.Platform, s.layers(map[string]compiled{tenant: c}), 16)
	if err != nil {
		tb.Fatal(err)
	}
	return snapshot
}

func TestCases(t *testing.T) {
	s := space(t)
	doc, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	if err := RunCases(t.Context(), snapshotOf(t, s, "default", doc), "default", "default", doc, now); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(c *edgev1.PolicyCase){
		"another decision":  func(c *edgev1.PolicyCase) { c.Expect = Deny },
		"another rule":      func(c *edgev1.PolicyCase) { c.Rule = "long" },
		"other obligations": func(c *edgev1.PolicyCase) { c.Obligations.MaxTokens = 6 },
		"a typing error":    func(c *edgev1.PolicyCase) { c.Action = "caht" },
		"no address":        func(c *edgev1.PolicyCase) { c.Context.Address = "here" },
		"nothing expected":  func(c *edgev1.PolicyCase) { c.Expect = "" },
	} {
		wrong := proto.CloneOf(doc)
		change(wrong.GetCases()[0])
		if err := RunCases(t.Context(), snapshotOf(t, s, "default", doc), "default", "default", wrong, now); err == nil || !strings.Contains(err.Error(), "morning") {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := RunCases(gone, snapshotOf(t, s, "default", doc), "default", "default", doc, now); !errors.Is(err, context.Canceled) {
		t.Errorf("cases go on when nobody waits for them: %v", err)
	}
	foreign := &edgev1.PolicyCase{Name: "x", Caller: &edgev1.PolicyCaller{Tenant: "globex"}, Action: "chat", Resource: &edgev1.PolicyResource{Type: "model"}}
	if _, err := Ask("acme", "default", foreign, now); err == nil {
		t.Error("a tenant may ask about another's callers")
	}
}

func TestDiff(t *testing.T) {
	before, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	after := proto.CloneOf(before)
	after.Rules[0].Condition = "hour < 17"
	after.Roles = nil
	after.Cases = append(after.Cases, &edgev1.PolicyCase{Name: "new"})
	after.Description = "others"
	var got []string
	for _, d := range Diff(before, after) {
		got = append(got, d.GetChange()+" "+d.GetKind()+" "+d.GetId())
	}
	want := "changed setting document, changed rule short, removed role group:ops is role:operator in *, added case new"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
	if len(Diff(before, before)) != 0 {
		t.Error("a document differs from itself")
	}
}

// FuzzDocument: whatever a document says, it is refused or can be kept, read
// again as the same, and asked.
func FuzzDocument(f *testing.F) {
	f.Add(sample)
	f.Add("p, role:x, own, *, *, *, 'a' in principals, deny")
	f.Add("g, user:x, role:y, *\np, public, any, model|col*, *, chat, requested_tokens < 5, allow, max_tokens=5 model=m redact review")
	f.Add(`{"rules":[{"subject":"public","effect":"allow","condition":"claims.a.b == 1 || in_network(address, '10.0.0.0/8')"}]}`)
	s := space(f)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := Parse(text)
		if err != nil {
			return
		}
		for _, tenant := range []string{"default", "acme"} {
			if s.Check(tenant, doc) != nil {
				continue
			}
			c, err := s.compile(tenant, Name(tenant, 1), doc)
			if err != nil {
				continue
			}
			v, err := NewVersion(tenant, doc, "a/b", "", time.Unix(0, 0))
			if err != nil {
				t.Fatalf("what is accepted cannot be kept: %v", err)
			}
			again, err := v.Document()
			if err != nil || !proto.Equal(doc, again) {
				t.Fatalf("it is read again as another: %v\n%v\n%v", err, doc, again)
			}
			snapshot, err := authz.NewSnapshot("default", s.layers(map[string]compiled{tenant: c}), 16)
			if err != nil {
				t.Fatal(err)
			}
			q, err := Ask(tenant, "default", &edgev1.PolicyCase{Action: "chat", Resource: &edgev1.PolicyResource{Type: "model", Id: "m"}}, time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			e := snapshot.Explain(q)
			if d := snapshot.Decide(q); d.Allowed != e.Decision.Allowed {
				t.Fatal("explained in another way than decided")
			}
			if tenant == "acme" {
				q.Caller.Tenant, q.Resource.Tenant = "globex", "globex"
				if snapshot.Decide(q).Allowed {
					t.Fatal("a tenant's policy let another's caller in")
				}
			}
			_ = RunCases(t.Context(), snapshot, tenant, "default", doc, time.Unix(0, 0))
		}
	})
}
