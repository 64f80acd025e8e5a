package security

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

func TestDryRunOnTwoEdges(t *testing.T) { testDryRun(t, sqliteDSN(t)) }

// testDryRun: what is tried is tried on every edge, and each says what all have seen.
func testDryRun(t *testing.T, dsn string) {
	t.Helper()
	one, two := open(t, dsn, nil), open(t, dsn, nil)
	root := as(t, one.root(t))
	client := one.policies()
	if _, err := client.CreatePolicyVersion(root, &edgev1.CreatePolicyVersionRequest{
		Source: `rules: [{id: closed, subject: "role:reader", scope: any, type: model, action: chat, effect: deny}]`,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.StartPolicyDryRun(root, &edgev1.StartPolicyDryRunRequest{Version: 1}); err != nil {
		t.Fatal(err)
	}
	caller := identity.NewCaller("acme", "ada", []string{"reader"}, nil)
	m := authz.Table()[edgev1.OpenAIService_CreateChatCompletion_FullMethodName]
	judge := func(e edge, model string) {
		if v, err := e.deps.Authorizer.Judge(t.Context(), m, caller, &edgev1.CreateChatCompletionRequest{Model: model}); err != nil || !v.Allowed {
			t.Errorf("what is tried decides: %+v, %v", v, err)
		}
	}
	status := func(e edge) *edgev1.GetPolicyDryRunResponse {
		t.Helper()
		resp, err := e.policies().GetPolicyDryRun(root, &edgev1.GetPolicyDryRunRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			if err := clock.Sleep(t.Context(), clock.Real(), 10*time.Millisecond); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	// The other edge sees it with its next poll.
	wait("two never tries it", func() bool { judge(two, "on-two"); return status(two).GetDifferent() > 0 })
	for range 3 {
		judge(one, "on-one")
	}
	const edges = 2
	for _, e := range []edge{one, two} {
		wait("an edge does not hear of the other", func() bool {
			s := status(e)
			return len(s.GetReplicas()) == edges && s.GetJudged() == s.GetReplicas()[0].GetJudged()+s.GetReplicas()[1].GetJudged()
		})
		seen, replicas := map[string]bool{}, map[string]bool{}
		s := status(e)
		for _, d := range s.GetDifferences() {
			seen[d.GetResource()], replicas[d.GetReplica()] = true, true
		}
		if !seen["model/on-one"] || !seen["model/on-two"] || len(replicas) != edges || s.GetVersion() != 1 {
			t.Errorf("%v of %v: %v", seen, replicas, s)
		}
	}
	if _, err := client.StartPolicyDryRun(root, &edgev1.StartPolicyDryRunRequest{}); err != nil {
		t.Fatal(err)
	}
	wait("it does not end", func() bool { return status(two).GetVersion() == 0 && status(two).GetJudged() == 0 })
}
