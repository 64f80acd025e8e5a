package security

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// TestPoliciesOfHostileTenants: what a tenant writes costs the gateway little, reaches
// nothing, and tells of nobody else.
func TestPoliciesOfHostileTenants(t *testing.T) {
	e := open(t, sqliteDSN(t), nil)
	root := as(t, e.root(t))
	client := e.policies()
	refused := func(what, source, want string) {
		t.Helper()
		_, err := client.CreatePolicyVersion(root, &edgev1.CreatePolicyVersionRequest{Tenant: "acme", Source: source, ValidateOnly: true})
		if apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.300v", what, err)
		}
	}
	var many strings.Builder
	many.WriteString("rules:\n")
	for i := range 513 {
		fmt.Fprintf(&many, "- {id: r%d, subject: public, effect: deny, condition: \"subject == 'u%d'\"}\n", i, i)
	}
	refused("many conditions", many.String(), "513 different conditions, of at most 512")
	rule := func(condition string) string {
		return fmt.Sprintf("rules: [{id: x, subject: public, effect: deny, condition: %q}]", condition)
	}
	for condition, want := range map[string]string{
		"tenant.getClass()":         "getClass",
		"env('PATH') == ''":         "env",
		"facts.Now.Unix() > 0":      "facts",
		"claims.constructor.name()": "name",
		strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): "condition",
	} {
		refused(condition[:min(len(condition), 40)], rule(condition), want)
	}
	refused("a scope of others", `rules: [{id: x, subject: public, scope: globex, effect: allow}]`, "scope must be own")
	refused("a role of others", `roles: [{member: "user:eve", role: "role:admin", tenant: default}]`, "own tenant")
	refused("an alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]", "")

	// Cases whose conditions never end are ended together.
	slow := "principals.all(a, principals.all(b, principals.all(c, principals.all(d, a + b + c + d != ''))))"
	var groups []string
	for i := range 250 {
		groups = append(groups, fmt.Sprintf("g%d", i))
	}
	var cases []*edgev1.PolicyCase
	for range 1000 {
		cases = append(cases, &edgev1.PolicyCase{Caller: &edgev1.PolicyCaller{Groups: groups}, Action: "chat", Resource: &edgev1.PolicyResource{Type: "model", Id: "m"}})
	}
	began := clock.Real().Now()
	_, err := client.TestPolicy(root, &edgev1.TestPolicyRequest{Tenant: "acme", Source: rule(slow), Cases: cases})
	if apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), "too long together") {
		t.Errorf("cases that never end: %v", err)
	}
	t.Logf("they took %v", clock.Real().Now().Sub(began))
	if _, err := client.ActivatePolicy(root, &edgev1.ActivatePolicyRequest{}); apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), "deactivate") {
		t.Errorf("no version at all: %v", err)
	}
}

// TestActivationsFromTwoEdges: of changes that saw the same etag one holds.
func TestActivationsFromTwoEdges(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := open(t, dsn, nil), open(t, dsn, nil)
	root := as(t, one.root(t))
	clients := []edgev1.PolicyServiceClient{one.policies(), two.policies()}
	etag := ""
	for i := range 2 {
		resp, err := clients[0].CreatePolicyVersion(root, &edgev1.CreatePolicyVersionRequest{Source: fmt.Sprintf("description: the %dth", i), Activate: true})
		if err != nil {
			t.Fatal(err)
		}
		etag = resp.GetEtag()
	}
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			var now string
			var err error
			if i == 0 {
				var resp *edgev1.ActivatePolicyResponse
				resp, err = c.ActivatePolicy(root, &edgev1.ActivatePolicyRequest{Version: 1, Etag: etag})
				now = resp.GetEtag()
			} else {
				var resp *edgev1.RollbackPolicyResponse
				resp, err = c.RollbackPolicy(root, &edgev1.RollbackPolicyRequest{Version: 1, Etag: etag})
				now = resp.GetEtag()
			}
			if err != nil && apierr.ReasonOf(err) != apierr.Conflict {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, now)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || won[0] == etag {
		t.Errorf("of two changes of %s there hold %v", etag, won)
	}
}
