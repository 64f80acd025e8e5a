package authz

import (
	"testing"

	"github.com/poterne/poterne/pkg/identity"
)

func TestMayGrant(t *testing.T) {
	a := open(t, "")
	for _, c := range []struct {
		caller identity.Caller
		role   string
		tenant string
		want   bool
	}{
		{callerWith("acme", "admin"), "admin", "acme", true},
		{callerWith("acme", "admin"), "developer", "acme", true},
		{callerWith("acme", "admin"), "reader", "acme", true},
		{callerWith("acme", "admin"), "auditor", "acme", false},
		{callerWith("acme", "admin"), "reader", "globex", false},
		{callerWith("acme", "admin"), "admin", "default", false},
		{callerWith("acme", "developer"), "admin", "acme", false},
		{callerWith("acme", "developer"), "reader", "acme", true},
		{callerWith("default", "admin"), "auditor", "acme", true},
		{callerWith("default", "developer"), "admin", "default", false},
	} {
		if got := a.MayGrant(t.Context(), c.caller, c.role, c.tenant); got != c.want {
			t.Errorf("%v of %s gives %s in %s: %v, want %v", c.caller.Roles, c.caller.Tenant, c.role, c.tenant, got, c.want)
		}
	}
}

func BenchmarkCached(b *testing.B) {
	a := open(b, "")
	c, res := callerWith("acme", "developer"), Resource{"model", "m", "acme"}
	for b.Loop() {
		if !a.Allowed(b.Context(), c, "chat", res) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkUncached(b *testing.B) {
	a := open(b, "")
	c, res := callerWith("acme", "developer"), Resource{"model", "m", "acme"}
	for b.Loop() {
		a.Current().answers.Purge()
		if !a.Allowed(b.Context(), c, "chat", res) {
			b.Fatal("refused")
		}
	}
}
