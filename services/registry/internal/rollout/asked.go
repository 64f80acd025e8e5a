package rollout

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Mover decides a move in the store's transaction.
type Mover func(store.RolloutView) (*store.RolloutMove, error)

// Asked makes a mover of what somebody asks for: etag is the one that was read, or
// store.AnyEtag, and reason what was given for people.
func Asked(etag, reason string, do Mover) Mover {
	return func(v store.RolloutView) (*store.RolloutMove, error) {
		r := v.Rollout
		if etag != store.AnyEtag && etag != r.GetEtag() {
			return nil, apierr.New(apierr.Conflict, "the rollout %q of %q has changed since it was read", r.GetName(), r.GetModel()).
				WithField("etag").WithMetadata("etag", r.GetEtag())
		}
		if store.RolloutOver(r) {
			return nil, apierr.New(apierr.FailedPrecondition, "the rollout %q of %q is over", r.GetName(), r.GetModel()).
				WithField("rollout")
		}
		m, err := do(v)
		if m != nil {
			m.Asked, m.Event.Reason = true, reason
		}
		return m, err
	}
}

// Pause keeps a rollout at its step. One that is paused stays as it is, with the
// cause that it has.
func Pause(v store.RolloutView) (*store.RolloutMove, error) {
	if v.Rollout.GetState() == paused {
		return nil, nil //nolint:nilnil // nothing to do
	}
	return pause(v, Seen{}, requested, "somebody paused it; its guardrails go on to hold"), nil
}

// Resume begins the present step anew, with split and alias as they are now.
func Resume(v store.RolloutView) (*store.RolloutMove, error) {
	r := v.Rollout
	if r.GetState() != paused {
		return nil, nil //nolint:nilnil // nothing to do
	}
	if r.GetStep() == 0 {
		return move(v, pending, eventResumed, "it goes on where it was paused, before the first step"), nil
	}
	m := enter(v, r.GetStep(), eventResumed, "")
	takeOver(v, m)
	return m, nil
}

// takeOver notes split and alias as they are now for the rollout's own.
func takeOver(v store.RolloutView, m *store.RolloutMove) {
	m.Rollout.SplitEtag, m.Rollout.AliasEtag = v.Split.GetEtag(), v.Alias.GetEtag()
}

// Force sends a rollout to a later step; 0 is the next one, and one more than there
// are is the end.
func Force(number int32) Mover {
	return func(v store.RolloutView) (*store.RolloutMove, error) {
		r := v.Rollout
		if store.AwaitsApproval(r) {
			return nil, apierr.New(apierr.FailedPrecondition, "the rollout %q of %q waits until the alias change %s is approved",
				r.GetName(), r.GetModel(), r.GetApproval()).WithField("rollout").WithMetadata("change", r.GetApproval())
		}
		target := number
		if target == 0 {
			target = r.GetStep() + 1
		}
		last := int32(len(r.GetSteps()))
		if target <= r.GetStep() || target > last+1 {
			return nil, apierr.New(apierr.FailedPrecondition, "step %d does not come after the present one, %d of %d", target, r.GetStep(), last).
				WithField("step")
		}
		v.Rollout.AliasEtag = v.Alias.GetEtag() // whatever is there is taken over
		var m *store.RolloutMove
		if target > last {
			m = finish(v, Seen{}, "somebody forced it to its end")
		} else {
			m = enter(v, target, eventForced, "somebody forced it")
		}
		takeOver(v, m)
		if m.Rollout.GetStartTime() == nil {
			m.Rollout.StartTime = timestamppb.New(v.Now)
		}
		return m, nil
	}
}

// Abort ends a rollout.
func Abort(v store.RolloutView) (*store.RolloutMove, error) {
	return back(v, aborted, eventAborted, "somebody aborted it"), nil
}
