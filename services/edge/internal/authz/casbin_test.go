package authz

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/casbin/casbin/v2/util"

	"github.com/poterne/poterne/pkg/identity"
)

// plain is Casbin over all rules and roles of a policy, without an index: what
// the snapshot must agree with.
type plain struct{ enforcer *casbin.Enforcer }

func newPlain(t *testing.T, l *Layer) plain {
	t.Helper()
	m, err := model.NewModelFromString(modelText)
	if err != nil {
		t.Fatal(err)
	}
	rules := make([]*rule, len(l.rules))
	for i := range l.rules {
		rules[i] = &l.rules[i]
	}
	e, err := newEnforcer(m, rules)
	if err != nil {
		t.Fatal(err)
	}
	e.AddNamedDomainMatchingFunc("g", "keyMatch", util.KeyMatch)
	for _, b := range l.policy.Bindings {
		if _, err := e.AddGroupingPolicy(b.Member, b.Role, b.Tenant); err != nil {
			t.Fatal(err)
		}
	}
	return plain{e}
}

func (p plain) allowed(c identity.Caller, action string, res Resource) (bool, error) {
	all := map[string]struct{}{identity.Public: {}}
	for _, name := range append([]string{identity.Public}, c.Principals...) {
		all[name] = struct{}{}
		roles, err := p.enforcer.GetImplicitRolesForUser(name, c.Tenant)
		if err != nil {
			continue // unknown to the policy
		}
		for _, r := range roles {
			all[r] = struct{}{}
		}
	}
	names := make(map[string]func(a *asker) any)
	for _, v := range variables() {
		names[v.name] = v.of
	}
	a := &asker{standing: &standing{caller: c, platform: "default", names: names, all: all, inTenant: all}, action: action, res: res}
	return p.enforcer.Enforce(a, c.Tenant, res.Type, res.ID, res.Tenant, action)
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// randomPolicy has few names, so that rules meet.
func randomPolicy(r *rand.Rand) string {
	var b strings.Builder
	subject := func() string {
		return pick(r, "role:r1", "role:r2", "role:r3", "group:g1", "user:ada", "user:bob", "tenant:a", "tenant:b", "public")
	}
	seen := make(map[string]bool)
	write := func(line string) {
		if !seen[line] {
			seen[line] = true
			b.WriteString(line + "\n")
		}
	}
	for range r.IntN(5) {
		write(fmt.Sprintf("g, %s, %s, %s", subject(), pick(r, "role:r1", "role:r2", "role:r3", "role:r4"), pick(r, "*", "a", "b")))
	}
	for range 1 + r.IntN(12) {
		write(fmt.Sprintf("p, %s, %s, %s, %s, %s, %s, %s", subject(), pick(r, "own", "any", "a", "b"),
			pick(r, "model", "col*", "*", "model|collection"), pick(r, "m", "m*", "*", "m|n"), pick(r, "chat", "*", "get|chat"),
			pick(r, "true", "true", "subject == 'ada'", "resource_id == 'm'", "'role:r2' in principals", "tenant == platform_tenant", "int(resource_id) > 3"),
			pick(r, EffectAllow, EffectAllow, EffectDeny)))
	}
	return b.String()
}

func randomAsk(r *rand.Rand) (identity.Caller, string, Resource) {
	c := identity.Caller{Tenant: pick(r, "a", "b", "default"), Subject: pick(r, "ada", "bob")}
	c.Principals = []string{"user:" + c.Subject, "tenant:" + c.Tenant}
	for _, p := range []string{"role:r1", "role:r2", "group:g1"} {
		if r.IntN(3) == 0 {
			c.Principals = append(c.Principals, p)
		}
	}
	return c, pick(r, "chat", "get", "delete"), Resource{pick(r, "model", "collection", "document"), pick(r, "", "m", "mm", "n", "7"), pick(r, "a", "b", "default")}
}

// TestIndexAgreesWithCasbin: an index, an enforcer for each set of rules and two
// caches are in between, and none of them may change a decision.
func TestIndexAgreesWithCasbin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	allowed := 0
	for range 60 {
		text := randomPolicy(r)
		p, err := ParsePolicy(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		layer, err := CompileLayer("x", p)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSnapshot("default", Layers{Base: layer}, 64)
		if err != nil {
			t.Fatal(err)
		}
		reference := newPlain(t, layer)
		for range 60 {
			c, action, res := randomAsk(r)
			want, err := reference.allowed(c, action, res)
			for _, cached := range []string{"first", "again"} {
				got := s.decide(ask{caller: c, action: action, res: res})
				if got.Allowed != (want && err == nil) || (err != nil) != (got.Failure != nil) {
					t.Fatalf("%s: %+v may %s %+v: %+v, Casbin says %v %v, of\n%s", cached, c, action, res, got, want, err, text)
				}
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < 100 {
		t.Fatalf("only %d were allowed: the policies say too little", allowed)
	}
}
