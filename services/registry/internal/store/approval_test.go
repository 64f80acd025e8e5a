package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

const (
	pending    = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_PENDING
	approved   = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_APPROVED
	rejected   = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_REJECTED
	expired    = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_EXPIRED
	superseded = registryv1.AliasChangeState_ALIAS_CHANGE_STATE_SUPERSEDED
)

// protected is a store of a model with three versions, whose alias production is
// protected everywhere, and at v1.
func (s suite) protected(t *testing.T) (*env, *registryv1.Alias) {
	t.Helper()
	e := newEnv(t, s.databases, store.Options{ProtectedAliases: []string{"prod*"}, ApprovalTime: time.Hour})
	e.model("m")
	for seed := range 3 {
		e.version("m", seed)
	}
	asked := e.ask("ada", 1, "")
	e.approve("bob", asked.GetId())
	a, err := e.GetAlias(t.Context(), "m", "production")
	check(t, err)
	return e, a
}

// ask wants production to name a version, and returns what waits.
func (e *env) ask(actor string, version int32, etag string) *registryv1.AliasChange {
	e.t.Helper()
	a, change, err := e.ChangeAlias(e.t.Context(), actor,
		store.AliasWish{Model: "m", Alias: "production", Version: version, Etag: etag, Reason: "because"})
	check(e.t, err)
	if change == nil || a.GetPendingChange() != change.GetId() {
		e.t.Fatalf("a protected alias became %v, asked for with %v", a, change)
	}
	return change
}

func (e *env) decision(id string) store.Decision {
	return store.Decision{Model: "m", Change: id, Reason: "seen"}
}

func (e *env) approve(actor, id string) *registryv1.AliasChange {
	e.t.Helper()
	a, err := e.ApproveAliasChange(e.t.Context(), actor, e.decision(id))
	return must(e.t, a, err)
}

func (e *env) stands(id string, want registryv1.AliasChangeState) {
	e.t.Helper()
	a, err := e.GetAliasChange(e.t.Context(), "m", id)
	check(e.t, err)
	if a.GetState() != want {
		e.t.Errorf("%s is %v, want %v", id, a.GetState(), want)
	}
}

// A protected alias moves when another approves it, and is noted with both.
func (s suite) approval(t *testing.T) {
	e, first := s.protected(t)
	ctx := t.Context()
	if first.GetVersion() != 1 || first.GetPendingChange() != "" {
		t.Fatalf("after its first approval: %v", first)
	}
	before := e.state("m")
	asked := e.ask("ada", 2, first.GetEtag())
	if asked.GetFromVersion() != 1 || asked.GetFromEtag() != first.GetEtag() || asked.GetToVersion() != 2 ||
		asked.GetRequestedBy() != "ada" || asked.GetReason() != "because" || asked.GetState() != pending ||
		!asked.GetExpireTime().AsTime().Equal(start.Add(time.Hour)) {
		t.Errorf("asked for: %v", asked)
	}
	if got := e.state("m"); got.GetAliases()[0].GetVersion() != 1 || len(got.GetAliases()) != len(before.GetAliases()) {
		t.Errorf("watchers see %v before the approval", got.GetAliases())
	}
	list, err := e.ListAliases(ctx, "m", "", 10)
	check(t, err)
	if list[0].GetPendingChange() != asked.GetId() {
		t.Errorf("listed without what waits: %v", list[0])
	}
	at := e.revision()
	if again := e.ask("ada", 2, first.GetEtag()); again.GetId() != asked.GetId() || e.revision() != at {
		t.Error("the same again is another change")
	}

	_, err = e.ApproveAliasChange(ctx, "ada", e.decision(asked.GetId()))
	wantReason(t, err, apierr.PermissionDenied, "")
	_, err = e.ApproveAliasChange(ctx, "", e.decision(asked.GetId()))
	wantReason(t, err, apierr.PermissionDenied, "")
	_, err = e.ApproveAliasChange(ctx, "bob", store.Decision{Model: "m", Change: asked.GetId(), Etag: "stale"})
	wantReason(t, err, apierr.Conflict, "etag")
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision("c999"))
	wantReason(t, err, apierr.NotFound, "change")
	e.model("other")
	_, err = e.ApproveAliasChange(ctx, "bob", store.Decision{Model: "other", Change: asked.GetId()})
	wantReason(t, err, apierr.NotFound, "change")

	e.clock.Advance(time.Minute)
	done := e.approve("bob", asked.GetId())
	if done.GetState() != approved || done.GetDecidedBy() != "bob" || done.GetDecision() != "seen" || done.GetRevision() != e.revision() ||
		!done.GetDecideTime().AsTime().Equal(start.Add(time.Minute)) || done.GetEtag() == asked.GetEtag() {
		t.Errorf("approved: %v", done)
	}
	now, err := e.GetAlias(ctx, "m", "production")
	check(t, err)
	if now.GetVersion() != 2 || now.GetPendingChange() != "" {
		t.Errorf("after the approval: %v", now)
	}
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision(asked.GetId()))
	wantReason(t, err, apierr.FailedPrecondition, "change")
	history, err := e.AliasHistory(ctx, "m", "production", 0, 10)
	check(t, err)
	if h := history[0]; len(history) != 2 || h.GetActor() != "bob" || h.GetRequestedBy() != "ada" || h.GetReason() != "because" ||
		h.GetChange() != asked.GetId() || h.GetVersion() != 2 || h.GetDigest() != now.GetDigest() || h.GetRevision() != e.revision() {
		t.Errorf("history: %v", history)
	}
}

// What was asked of a state that is no more is not made.
func (s suite) approvalOfThePast(t *testing.T) {
	e, first := s.protected(t)
	ctx := t.Context()
	asked := e.ask("ada", 2, first.GetEtag())
	other := e.ask("eve", 3, first.GetEtag())
	e.stands(asked.GetId(), superseded)
	_, err := e.ApproveAliasChange(ctx, "bob", e.decision(asked.GetId()))
	wantReason(t, err, apierr.FailedPrecondition, "change")
	e.approve("bob", other.GetId())
	now, err := e.GetAlias(ctx, "m", "production")
	check(t, err)
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision(asked.GetId()))
	wantReason(t, err, apierr.Conflict, "change")
	if got := apierr.From(err).Metadata["etag"]; got != now.GetEtag() {
		t.Errorf("the conflict gives %q, want %q", got, now.GetEtag())
	}
	_, _, err = e.ChangeAlias(ctx, "ada", store.AliasWish{Model: "m", Alias: "production", Version: 2, Etag: first.GetEtag()})
	wantReason(t, err, apierr.Conflict, "etag")

	// A replica that does not protect it moves it meanwhile.
	waiting := e.ask("ada", 2, now.GetEtag())
	e.opts.ProtectedAliases = nil
	free := e.open()
	moved, err := free.SetAlias(ctx, "eve", "m", "production", 1, now.GetEtag())
	check(t, err)
	e.stands(waiting.GetId(), superseded)
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision(waiting.GetId()))
	wantReason(t, err, apierr.Conflict, "change")
	if got := apierr.From(err).Metadata["etag"]; got != moved.GetEtag() {
		t.Errorf("the conflict gives %q, want %q", got, moved.GetEtag())
	}
}

func (s suite) approvalEnds(t *testing.T) {
	e, first := s.protected(t)
	ctx := t.Context()
	mine := e.ask("ada", 2, first.GetEtag())
	withdrawn, err := e.RejectAliasChange(ctx, "ada", e.decision(mine.GetId()))
	check(t, err)
	if withdrawn.GetState() != rejected || withdrawn.GetDecidedBy() != "ada" || withdrawn.GetRevision() != 0 {
		t.Errorf("withdrawn: %v", withdrawn)
	}
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision(mine.GetId()))
	wantReason(t, err, apierr.FailedPrecondition, "change")
	_, err = e.RejectAliasChange(ctx, "bob", e.decision(mine.GetId()))
	wantReason(t, err, apierr.FailedPrecondition, "change")

	late := e.ask("ada", 2, first.GetEtag())
	e.clock.Advance(time.Hour)
	e.stands(late.GetId(), expired)
	_, err = e.ApproveAliasChange(ctx, "bob", e.decision(late.GetId()))
	wantReason(t, err, apierr.FailedPrecondition, "change")
	a, err := e.GetAlias(ctx, "m", "production")
	check(t, err)
	if a.GetPendingChange() != "" {
		t.Errorf("an expired change waits: %v", a)
	}
	next := e.ask("ada", 2, first.GetEtag())
	e.stands(late.GetId(), expired)
	for _, tt := range []struct {
		filter store.ChangeFilter
		want   []string
	}{
		{store.ChangeFilter{Pending: true}, []string{next.GetId()}},
		{store.ChangeFilter{Alias: "other"}, nil},
		{store.ChangeFilter{}, []string{next.GetId(), late.GetId(), mine.GetId()}},
	} {
		list, err := e.ListAliasChanges(ctx, "m", tt.filter, "", 3)
		check(t, err)
		var got []string
		for _, a := range list {
			got = append(got, a.GetId())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v lists %v, want %v", tt.filter, got, tt.want)
		}
	}

	// A protected alias goes as it comes.
	_, gone, err := e.ChangeAlias(ctx, "ada", store.AliasWish{Model: "m", Alias: "production", Etag: first.GetEtag()})
	check(t, err)
	e.approve("bob", gone.GetId())
	_, err = e.GetAlias(ctx, "m", "production")
	wantReason(t, err, apierr.NotFound, "alias")
	check(t, e.DeleteModel(ctx, "", "m"))
}

// A model protects more aliases of its own; to give that up needs an approval too.
func (s suite) ownProtection(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	none, err := e.AliasProtection(ctx, "m")
	check(t, err)
	if none.GetEtag() != "" || len(none.GetProtected()) != 0 {
		t.Errorf("at first: %v", none)
	}
	_, err = e.AliasProtection(ctx, "absent")
	wantReason(t, err, apierr.ModelNotFound, "model")
	set, change, err := e.SetAliasProtection(ctx, "ada", "m", []string{"prod*", "blue"}, "", "")
	check(t, err)
	if change != nil || !slices.Equal(set.GetProtected(), []string{"blue", "prod*"}) {
		t.Errorf("set %v, %v", set, change)
	}
	_, _, err = e.SetAliasProtection(ctx, "ada", "m", nil, "", "")
	wantReason(t, err, apierr.Conflict, "etag")
	if e.ask("ada", 1, "").GetFromVersion() != 0 {
		t.Error("it was not there")
	}
	if a, err := e.SetAlias(ctx, "ada", "m", "green", 1, ""); err != nil || a.GetVersion() != 1 {
		t.Errorf("an alias that is not protected: %v, %v", a, err)
	}

	same, less, err := e.SetAliasProtection(ctx, "ada", "m", []string{"blue", "green"}, set.GetEtag(), "move faster")
	check(t, err)
	if less == nil || !slices.Equal(same.GetProtected(), set.GetProtected()) {
		t.Fatalf("less protection: %v, %v", same, less)
	}
	_, err = e.ApproveAliasChange(ctx, "ada", e.decision(less.GetId()))
	wantReason(t, err, apierr.PermissionDenied, "")
	e.approve("bob", less.GetId())
	now, err := e.AliasProtection(ctx, "m")
	check(t, err)
	if !slices.Equal(now.GetProtected(), []string{"blue", "green"}) {
		t.Errorf("after the approval: %v", now)
	}
	if a, err := e.SetAlias(ctx, "ada", "m", "production", 1, ""); err != nil || a.GetVersion() != 1 {
		t.Errorf("an alias that is protected no more: %v, %v", a, err)
	}
}
