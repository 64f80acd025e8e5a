package registry_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// A rollout of a protected alias is listed among what waits for an approval, and
// begins by itself when another subject gives it.
func TestApprovalOfARollout(t *testing.T) {
	r := start(t, func(c *registry.Config) { quick(c); c.Aliases.Protected = []string{"prod*"} })
	client := registryv1.NewRegistryServiceClient(identified{r.conn})
	ada, bob := as(t, "ada"), as(t, "bob")
	_, err := client.CreateModel(ada, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err = client.CreateVersion(ada, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(seed)})
		fatal(t, err)
	}
	set, err := client.SetAlias(ada, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 1})
	fatal(t, err)
	_, err = client.ApproveAliasChange(bob, &registryv1.ApproveAliasChangeRequest{Model: "m", Change: set.GetChange().GetId()})
	fatal(t, err)
	_, err = client.SetSplit(ada, &registryv1.SetSplitRequest{Model: "m", Arms: []*registryv1.Arm{{Name: "a", Version: 2, Weight: 1_000_000}}})
	wantError(t, err, apierr.FailedPrecondition, "arms[0].version")

	req := &registryv1.CreateRolloutRequest{
		Model: "m", Rollout: "june", Candidate: 2, ValidateOnly: true,
		Steps: []*registryv1.RolloutStep{{Weight: 1_000_000, MinDuration: durationpb.New(time.Millisecond)}},
	}
	planned, err := client.CreateRollout(ada, req)
	fatal(t, err)
	if planned.GetRollout().GetApproval() != "" {
		t.Errorf("a plan asked for an approval: %v", planned)
	}
	pending := func() []*registryv1.AliasChange {
		t.Helper()
		waits, err := client.ListAliasChanges(bob, &registryv1.ListAliasChangesRequest{Model: "m", Pending: true})
		fatal(t, err)
		return waits.GetChanges()
	}
	if n := len(pending()); n != 0 {
		t.Errorf("%d changes wait for a plan", n)
	}
	req.ValidateOnly = false
	made, err := client.CreateRollout(ada, req)
	fatal(t, err)
	waits := pending()
	if len(waits) != 1 || waits[0].GetKind() != registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_ROLLOUT ||
		waits[0].GetId() != made.GetRollout().GetApproval() || waits[0].GetToVersion() != 2 || waits[0].GetReason() != "rollout june" {
		t.Fatalf("%v waits, the rollout is %v", waits, made)
	}
	done, err := client.ApproveAliasChange(bob, &registryv1.ApproveAliasChangeRequest{Model: "m", Change: waits[0].GetId()})
	fatal(t, err)
	if done.GetChange().GetState() != registryv1.AliasChangeState_ALIAS_CHANGE_STATE_APPROVED {
		t.Errorf("approved: %v", done)
	}
	watcher := watch(t, r, 0)
	if m := next(t, watcher); m.GetSnapshot() == nil {
		t.Fatalf("first comes %v", m)
	}
	for {
		got, err := client.GetRollout(ada, &registryv1.GetRolloutRequest{Model: "m", Rollout: "june"})
		fatal(t, err)
		if got.GetRollout().GetState() == registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED {
			if by := got.GetRollout().GetApprovedBy(); by != "default/bob" {
				t.Errorf("approved by %q", by)
			}
			break
		}
		next(t, watcher)
	}
}
