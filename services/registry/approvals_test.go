package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/identity"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// as is a context in which the edge vouches for a subject.
func as(t *testing.T, subject string) context.Context {
	t.Helper()
	return identity.NewContext(t.Context(), identity.Caller{Tenant: "default", Subject: subject})
}

// An alias that the configuration protects moves by two subjects, is listed,
// rolled back by two, and goes by two: through every method.
func TestApprovals(t *testing.T) {
	r := start(t, func(c *registry.Config) { c.Aliases.Protected = []string{"production"} })
	client := registryv1.NewRegistryServiceClient(identified{r.conn})
	ada, bob := as(t, "ada"), as(t, "bob")
	_, err := client.CreateModel(ada, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err = client.CreateVersion(ada, &registryv1.CreateVersionRequest{Model: "m", Spec: spec(seed)})
		fatal(t, err)
	}
	approve := func(change *registryv1.AliasChange) {
		t.Helper()
		_, err := client.ApproveAliasChange(ada, &registryv1.ApproveAliasChangeRequest{Model: "m", Change: change.GetId()})
		wantError(t, err, apierr.PermissionDenied, "")
		done, err := client.ApproveAliasChange(bob, &registryv1.ApproveAliasChangeRequest{Model: "m", Change: change.GetId(), Etag: change.GetEtag()})
		fatal(t, err)
		if done.GetChange().GetDecidedBy() != "default/bob" || done.GetChange().GetRequestedBy() != "default/ada" {
			t.Errorf("approved: %v", done)
		}
	}
	etag, first := "", int64(0)
	for version := int32(1); version <= 2; version++ {
		set, err := client.SetAlias(ada, &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: version, Etag: etag, Reason: "why"})
		fatal(t, err)
		if set.GetAlias().GetVersion() != version-1 || set.GetAlias().GetPendingChange() != set.GetChange().GetId() {
			t.Fatalf("a protected alias became %v", set)
		}
		approve(set.GetChange())
		a, err := client.GetAlias(ada, &registryv1.GetAliasRequest{Model: "m", Alias: "production"})
		fatal(t, err)
		if etag = a.GetAlias().GetEtag(); a.GetAlias().GetVersion() != version {
			t.Fatalf("approved, it is %v", a)
		}
		if first == 0 {
			got, err := client.GetAliasChange(ada, &registryv1.GetAliasChangeRequest{Model: "m", Change: set.GetChange().GetId()})
			fatal(t, err)
			first = got.GetChange().GetRevision()
		}
	}
	back, err := client.RollbackAlias(ada, &registryv1.RollbackAliasRequest{Model: "m", Alias: "production", Revision: first, Etag: etag})
	fatal(t, err)
	approve(back.GetChange())
	gone, err := client.DeleteAlias(ada, &registryv1.DeleteAliasRequest{Model: "m", Alias: "production", Etag: "*"})
	fatal(t, err)
	_, err = client.RejectAliasChange(bob, &registryv1.RejectAliasChangeRequest{Model: "m", Change: gone.GetChange().GetId(), Reason: "bell\a"})
	wantError(t, err, apierr.InvalidArgument, "reason")
	_, err = client.RejectAliasChange(bob, &registryv1.RejectAliasChangeRequest{Model: "m", Change: gone.GetChange().GetId(), Reason: "needed"})
	fatal(t, err)

	var states []*registryv1.AliasState
	for token := ""; ; {
		page, err := client.ListAliasHistory(bob, &registryv1.ListAliasHistoryRequest{Model: "m", Alias: "production", PageSize: 2, PageToken: token})
		fatal(t, err)
		states = append(states, page.GetStates()...)
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(states) != 3 || states[0].GetVersion() != 1 || states[0].GetRollbackTo() != first || states[1].GetVersion() != 2 || states[2].GetReason() != "why" {
		t.Errorf("the history is %v", states)
	}
	list, err := client.ListAliasChanges(bob, &registryv1.ListAliasChangesRequest{Model: "m", PageSize: 3})
	fatal(t, err)
	if len(list.GetChanges()) != 3 || list.GetNextPageToken() == "" || list.GetChanges()[0].GetDecision() != "needed" {
		t.Errorf("the changes are %v", list)
	}
	protection, err := client.SetAliasProtection(ada, &registryv1.SetAliasProtectionRequest{Model: "m", Protected: []string{"canary"}})
	fatal(t, err)
	less, err := client.SetAliasProtection(ada, &registryv1.SetAliasProtectionRequest{Model: "m", Etag: protection.GetProtection().GetEtag()})
	fatal(t, err)
	approve(less.GetChange())
	now, err := client.GetAliasProtection(ada, &registryv1.GetAliasProtectionRequest{Model: "m"})
	fatal(t, err)
	if p := now.GetProtection(); len(p.GetProtected()) != 0 || p.GetConfigured()[0] != "production" {
		t.Errorf("the protection is %v", now)
	}
	_, err = client.SetAliasProtection(ada, &registryv1.SetAliasProtectionRequest{Model: "m", Protected: []string{"[a-z]"}, Etag: "*"})
	wantError(t, err, apierr.InvalidArgument, "protected[0]")
}

func TestSplitHistory(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	_, err = r.SetSplit(ctx, &registryv1.SetSplitRequest{Model: "m", Arms: []*registryv1.Arm{{Name: "a", Version: 1, Weight: 1_000_000}}, Reason: "why"})
	fatal(t, err)
	_, err = r.DeleteSplit(ctx, &registryv1.DeleteSplitRequest{Model: "m", Etag: "*"})
	fatal(t, err)
	list, err := r.ListSplitHistory(ctx, &registryv1.ListSplitHistoryRequest{Model: "m"})
	fatal(t, err)
	if len(list.GetStates()) != 2 || list.GetStates()[1].GetReason() != "why" {
		t.Fatalf("the history is %v", list)
	}
	back, err := r.RollbackSplit(ctx, &registryv1.RollbackSplitRequest{Model: "m", Revision: list.GetStates()[1].GetRevision()})
	fatal(t, err)
	if back.GetSplit().GetSalt() != list.GetStates()[1].GetSalt() || len(back.GetSplit().GetArms()) != 1 {
		t.Errorf("back to %v", back)
	}
}

func TestProtectionIsChecked(t *testing.T) {
	cfg := registry.DefaultConfig()
	cfg.Aliases = registry.Aliases{Protected: []string{"production", "Prod"}, ApprovalTime: time.Second}
	var problems config.Errors
	if err := cfg.Complete(); !errors.As(err, &problems) || len(problems) != 2 ||
		problems[0].Path != "aliases.protected[1]" || problems[1].Path != "aliases.approval_time" {
		t.Errorf("got %v", err)
	}
}

// identified is a connection that tells the registry who the context's caller is,
// as the edge's does.
type identified struct{ *grpc.ClientConn }

func (i identified) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	call := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		return cc.Invoke(ctx, method, req, reply, opts...)
	}
	return identity.UnaryClient(identity.Plain())(ctx, method, args, reply, i.ClientConn, call, opts...)
}
