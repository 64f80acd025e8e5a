package authz

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func layer(tb testing.TB, name, tenant, lines string) *Layer {
	tb.Helper()
	p, err := ParseLines(strings.NewReader(lines))
	if err != nil {
		tb.Fatal(err)
	}
	compile := CompileLayer
	if tenant != "" {
		compile = func(name string, p Policy) (*Layer, error) { return CompileTenantLayer(name, tenant, p) }
	}
	l, err := compile(name, p)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestTenantPolicies: a tenant's own policy decides about its own, and cannot
// reach further.
func TestTenantPolicies(t *testing.T) {
	base := layer(t, BaseLayer, "", defaultPolicy)
	platform := layer(t, "default@1", "", "p, public, any, model, banned, *, true, deny\np, role:operator, any, worker, *, list, true, allow\n")
	acme := layer(t, "acme@4", "acme", `
g, group:ops, role:operator, acme
g, group:ops, role:keeper, acme
p, role:reader, own, collection, *, write, true, allow
p, role:keeper, own, worker, *, drain, true, allow
p, role:reader, own, model, secret, *, true, deny
p, public, own, model, banned, chat, true, allow
p, public, own, *, *, odd, true, allow
`)
	s, err := NewSnapshot("default", Layers{Base: base, Platform: platform, Tenants: map[string]*Layer{"acme": acme}}, 64)
	if err != nil {
		t.Fatal(err)
	}
	ops := callerWith("acme", "reader")
	ops.Principals = append(ops.Principals, "group:ops")
	for _, c := range []struct {
		name     string
		tenant   string
		action   string
		res      Resource
		want     bool
		rule     string
		policies string
	}{
		{"an allow of its own", "acme", "write", Resource{"collection", "c", "acme"}, true, "acme@4/4", "+default@1+acme@4"},
		{"not in another tenant", "globex", "write", Resource{"collection", "c", "globex"}, false, "", "+default@1"},
		{"not of its callers on another's", "acme", "odd", Resource{"collection", "c", "globex"}, false, "", "+default@1+acme@4"},
		{"not of others on its own", "globex", "odd", Resource{"collection", "c", "acme"}, false, "", "+default@1"},
		{"not on the platform's", "acme", "odd", Resource{"worker", "w", "default"}, false, "", "+default@1+acme@4"},
		{"a deny of its own", "acme", "chat", Resource{"model", "secret", "acme"}, false, "acme@4/6", "+default@1+acme@4"},
		{"not for another tenant", "globex", "chat", Resource{"model", "secret", "globex"}, true, "base/", "+default@1"},
		{"the platform's deny holds", "acme", "chat", Resource{"model", "banned", "acme"}, false, "default@1/1", "+default@1+acme@4"},
	} {
		d := s.decide(ask{caller: callerWith(c.tenant, "reader"), action: c.action, res: c.res})
		if d.Allowed != c.want || !strings.HasPrefix(d.Rule, c.rule) || !strings.HasSuffix(d.Policy, c.policies) || c.rule == "" && d.Rule != "" {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
	if d := s.decide(ask{caller: ops, action: "drain", res: Resource{"worker", "", "acme"}}); !d.Allowed {
		t.Errorf("a role that the tenant gives has no effect on its own rules: %+v", d)
	}
	if d := s.decide(ask{caller: ops, action: "list", res: Resource{"worker", "", "default"}}); d.Allowed {
		t.Errorf("a tenant gave one of its own a role of the platform: %+v", d)
	}
}

// A tenant's conditions must not keep the gateway busy for everybody.
func TestTenantPoliciesThatTakeLong(t *testing.T) {
	const numbers = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24]"
	policy := func(n int) Policy {
		var p Policy
		for i := range n {
			p.Rules = append(p.Rules, Rule{
				ID: fmt.Sprint(i), Subject: "role:reader", Scope: ScopeOwn, Type: "model", Resource: "*", Action: "chat", Effect: EffectAllow,
				Condition: fmt.Sprintf("%s.all(a, %s.all(b, a*b+%d > 0))", numbers, numbers, i),
			})
		}
		return p
	}
	for _, c := range []struct {
		n    int
		want bool
	}{{3, true}, {200, false}} {
		l, err := CompileTenantLayer("acme@1", "acme", policy(c.n))
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSnapshot("default", Layers{Tenants: map[string]*Layer{"acme": l}}, 100)
		if err != nil {
			t.Fatal(err)
		}
		d := s.decide(ask{caller: callerWith("acme", "reader"), action: "chat", res: Resource{"model", "m", "acme"}})
		if d.Allowed != c.want || errors.Is(d.Failure, errTenantCost) == c.want {
			t.Errorf("%d conditions: %+v", c.n, d)
		}
	}
}

func TestTenantPoliciesThatReachFurther(t *testing.T) {
	for _, line := range []string{
		"p, role:x, any, *, *, *, true, allow", "p, role:x, globex, *, *, *, true, allow", "g, user:x, role:y, *", "g, user:x, role:y, globex",
	} {
		p, err := ParseLines(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CompileTenantLayer("acme@1", "acme", p); err == nil {
			t.Errorf("%s is accepted in acme's policy", line)
		}
	}
}

// manyRules is 10,000 rules over 100 tenants, besides the default ones.
func manyRules() string {
	var b strings.Builder
	b.WriteString(defaultPolicy + "\n")
	for tenant := range 100 {
		for i := range 100 {
			effect := EffectAllow
			if i%10 == 9 {
				effect = EffectDeny
			}
			fmt.Fprintf(&b, "p, role:r%d, t%d, model, m%d|x%d*, chat|get, subject != 'u%d', %s\n", i%5, tenant, i, i, i, effect)
		}
		fmt.Fprintf(&b, "g, group:g%d, role:r%d, t%d\n", tenant%7, tenant%5, tenant)
	}
	return b.String()
}

// TestManyRules: of 10,000 rules over 100 tenants a decision asks only the few
// that can apply, and one that is remembered asks none and allocates next to
// nothing. The times, which depend on the machine, are for the log.
func TestManyRules(t *testing.T) {
	s, err := NewSnapshot("default", Layers{Base: layer(t, BaseLayer, "", manyRules())}, 1<<14)
	if err != nil {
		t.Fatal(err)
	}
	caller := callerWith("t42", "r3", "reader")
	r := ask{caller: caller, action: "chat", res: Resource{"model", "m3", "t42"}}
	if got := len(s.prepare(r).rules); got > 4 {
		t.Errorf("%d rules are asked", got)
	}
	if d := s.decide(r); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	if n := testing.AllocsPerRun(100, func() { s.decide(r) }); n > 2 {
		t.Errorf("a decision that is remembered allocates %v times", n)
	}
	const rounds = 200
	start := time.Now()
	for range rounds {
		s.decide(r)
	}
	cached := time.Since(start) / rounds
	start = time.Now()
	for range rounds {
		s.answers.Purge()
		s.enforcers.Purge()
		s.decide(r)
	}
	t.Logf("cached %v, uncached with nothing prepared %v", cached, time.Since(start)/rounds)
}

func benchmark(b *testing.B, forget func(s *Snapshot)) {
	b.Helper()
	s, err := NewSnapshot("default", Layers{Base: layer(b, BaseLayer, "", manyRules())}, 1<<14)
	if err != nil {
		b.Fatal(err)
	}
	r := ask{caller: callerWith("t42", "r3", "reader"), action: "chat", res: Resource{"model", "m3", "t42"}}
	for b.Loop() {
		forget(s)
		if !s.decide(r).Allowed {
			b.Fatal("refused")
		}
	}
}

func BenchmarkManyRulesCached(b *testing.B) { benchmark(b, func(*Snapshot) {}) }

func BenchmarkManyRulesUncached(b *testing.B) {
	benchmark(b, func(s *Snapshot) { s.answers.Purge() })
}

func BenchmarkManyRulesCold(b *testing.B) {
	benchmark(b, func(s *Snapshot) { s.answers.Purge(); s.enforcers.Purge() })
}
