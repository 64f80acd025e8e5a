package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// protect makes the model's production move by two subjects alone.
func (r *rig) protect() {
	r.t.Helper()
	_, _, err := r.SetAliasProtection(r.t.Context(), "acme/ana", r.model, []string{"production"}, "*", "")
	check(r.t, err)
}

func (r *rig) decide(by string, approve bool, change string) error {
	r.t.Helper()
	d := store.Decision{Model: r.model, Change: change}
	if approve {
		_, err := r.ApproveAliasChange(r.t.Context(), by, d)
		return err
	}
	_, err := r.RejectAliasChange(r.t.Context(), by, d)
	return err
}

// A rollout that moves a protected alias waits for another subject, whose approval
// covers all its steps and the move of the alias in the end.
func TestARolloutOfAProtectedAliasWaits(t *testing.T) {
	r := newRig(t)
	r.protect()
	created := r.create(nil)
	r.says(eventCreated, "waits until another approves")
	r.after(time.Hour)
	r.stands(pending, 0, "")
	v, err := r.RolloutView(t.Context(), "m", "r")
	check(t, err)
	if _, words, _ := rollout.Progress(v, rollout.Seen{}); !strings.Contains(words, "another than acme/ana approves") ||
		!strings.Contains(words, created.GetApproval()) || created.GetApproval() == "" {
		t.Errorf("it says that %s; the change is %q", words, created.GetApproval())
	}
	_, err = r.MoveRollout(t.Context(), "acme/bo", "m", "r", nil, rollout.Asked("*", "", rollout.Force(1)))
	if apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("forced before the approval: %v", err)
	}
	for _, by := range []string{"acme/ana", ""} {
		if err := r.decide(by, true, created.GetApproval()); apierr.ReasonOf(err) != apierr.PermissionDenied {
			t.Errorf("%q approves: %v", by, err)
		}
	}
	check(t, r.decide("acme/bo", true, created.GetApproval()))
	if r.production() != 1 {
		t.Error("the approval moved the alias at once")
	}
	r.says(registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_APPROVED, "acme/bo approved")
	r.after(time.Second)
	r.stands(running, 1, firstStep)
	r.judge.say(requests(1000), nil)
	r.after(time.Minute)
	r.after(time.Minute)
	r.after(time.Minute)
	r.stands(succeeded, 3, "")
	if r.production() != 2 {
		t.Error("the alias does not name the candidate in the end")
	}
	if err := r.decide("acme/bo", true, created.GetApproval()); apierr.ReasonOf(err) == "" {
		t.Error("approved twice")
	}
}

// Nothing begins that is rejected, not approved in time, or whose place another
// change took; and what is aborted is not approved any more.
func TestARolloutThatIsNotApproved(t *testing.T) {
	first := newRig(t)
	tests := map[string]struct {
		do    func(r *rig, change string)
		state registryv1.RolloutState
		words string
	}{
		"rejected": {func(r *rig, change string) { check(r.t, r.decide("acme/ana", false, change)) }, failed, "was rejected"},
		"late":     {func(r *rig, _ string) { r.clock.Advance(366 * 24 * time.Hour) }, failed, "not approved in time"},
		"superseded": {func(r *rig, _ string) {
			_, _, err := r.ChangeAlias(r.t.Context(), "acme/bo", store.AliasWish{Model: r.model, Alias: "production", Version: 3, Etag: "*"})
			check(r.t, err)
		}, failed, "superseded by another"},
		"aborted": {func(r *rig, change string) {
			r.ask(rollout.Abort)
			if err := r.decide("acme/bo", true, change); apierr.ReasonOf(err) != apierr.FailedPrecondition {
				r.t.Errorf("approved when it was aborted: %v", err)
			}
		}, aborted, "no traffic had been moved"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := first.again(t, name)
			r.protect()
			created := r.create(nil)
			tt.do(r, created.GetApproval())
			r.after(time.Second)
			r.after(10 * time.Second) // the lease was another test's
			got := r.stands(tt.state, 0, "")
			if !strings.Contains(got.GetLastEvent().GetWords(), tt.words) || r.production() != 1 {
				t.Errorf("it says %v, and production is %d", got.GetLastEvent(), r.production())
			}
		})
	}
}

// No split is a way around a protected alias; one that sends everything where the
// alias does is.
func TestASplitIsNoWayAround(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	before, err := r.SetSplit(ctx, "", "m", []*registryv1.Arm{{Name: "a", Version: 2, Weight: store.WholeSplit}}, "")
	check(t, err)
	check(t, r.DeleteSplit(ctx, "", "m", before.GetEtag()))
	r.protect()
	refused := func(err error) {
		t.Helper()
		if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "protected") {
			t.Errorf("the error is %v", err)
		}
	}
	_, err = r.SetSplit(ctx, "", "m", []*registryv1.Arm{{Name: "a", Version: 1, Weight: 999_999}, {Name: "b", Version: 2, Weight: 1}}, "")
	refused(err)
	_, err = r.SetSplit(ctx, "", "m", []*registryv1.Arm{{Name: "a", Version: 1, Weight: store.WholeSplit}, {Name: "b", Version: 2}}, "")
	check(t, err)
	var revision int64
	history, err := r.SplitHistory(ctx, "m", 0, 10)
	check(t, err)
	for _, h := range history {
		if len(h.GetArms()) == 1 {
			revision = h.GetRevision()
		}
	}
	_, err = r.RollbackSplit(ctx, "", "m", store.Rollback{Revision: revision, Etag: "*"})
	refused(err)
	// Nor is a rollout that sets another alias in the end.
	created := r.create(func(q *registryv1.CreateRolloutRequest) { q.Alias = "stable" })
	if created.GetApproval() == "" {
		t.Error("a rollout to an alias that is not protected moves the bare name's traffic without an approval")
	}
}
