package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// RolloutView is everything that the next move of a rollout depends on besides
// evidence, read in one transaction.
type RolloutView struct {
	Rollout *registryv1.Rollout
	// Split is the model's; nil when there is none.
	Split *registryv1.Split
	// SplitBy is who changed the split last, as far as that is still known.
	SplitBy string
	// Alias is the one that the rollout sets at its end, Production the one that the
	// model's bare name follows without a split; nil when they are not there.
	Alias, Production *registryv1.Alias
	// Approval is the alias change that the rollout waits for; nil when it waits for
	// none.
	Approval *registryv1.AliasChange
	Now      time.Time
}

// RolloutMove is what a rollout becomes, together with what it changes. All of it
// commits at once or not at all.
type RolloutMove struct {
	// Rollout is the new state; its etag, its events, and the etags of split and
	// alias where these change are set by the store.
	Rollout *registryv1.Rollout
	// Event says what happened; its number, time, actor, state and step are set by
	// the store.
	Event *registryv1.RolloutEvent
	// Arms are the new split; none leaves it as it is.
	Arms []*registryv1.Arm
	// RemoveSplit removes it.
	RemoveSplit bool
	// SetAlias points the alias at the candidate.
	SetAlias bool
	// Asked says that a person caused it rather than what was seen.
	Asked bool
}

// CreateRollout stores a rollout that check has found good, with its first event.
// check gets the view that the rollout begins from and may set fields. With
// validateOnly nothing is stored.
func (s *Store) CreateRollout(ctx context.Context, actor string, r *registryv1.Rollout, validateOnly bool,
	check func(RolloutView) (*registryv1.RolloutEvent, error),
) (*registryv1.Rollout, error) {
	if versionLike.MatchString(r.GetAlias()) {
		return nil, apierr.Invalid("alias", "must not be like a version's number (v3) or a digest (sha256)")
	}
	var out *registryv1.Rollout
	err := s.change(ctx, actor, r.GetModel(), rolloutCreated, func(ctx context.Context, c *change) error {
		out = proto.CloneOf(r)
		out.CreateTime = timestamp(micros(c.now))
		v, err := s.rolloutView(ctx, c.tx, out, c.now)
		if err != nil {
			return err
		}
		if err := s.checkRoom(ctx, c, out); err != nil {
			return err
		}
		candidate, err := s.version(ctx, c.tx, out.GetModel(), VersionKey{Number: out.GetCandidate()})
		if err == nil {
			err = s.opts.May(candidate)
		}
		if err != nil {
			return inField(err, "candidate")
		}
		event, err := check(v)
		if err != nil {
			return err
		}
		if err := s.askForRollout(ctx, c, v); err != nil {
			return err
		}
		if out.GetApproval() != "" {
			event.Words += "; it waits until another approves, since what it moves is protected"
		}
		event.Actor = actor
		if validateOnly {
			out.LastEvent, out.UpdateTime, out.Approval = event, out.GetCreateTime(), "" // nobody was asked
			return errUnchanged
		}
		return c.putRollout(ctx, out, event, true)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// checkRoom refuses a second rollout at a time, and forgets the oldest one.
func (s *Store) checkRoom(ctx context.Context, c *change, r *registryv1.Rollout) error {
	active, err := s.activeRollout(ctx, c.tx, r.GetModel())
	if err != nil {
		return fmt.Errorf("rollout that is not over: %w", err)
	}
	_, err = s.rollout(ctx, c.tx, r.GetModel(), r.GetName())
	switch {
	case err == nil:
		return apierr.New(apierr.AlreadyExists, "the rollout %q of %q is there already", r.GetName(), r.GetModel()).
			WithField("rollout")
	case apierr.ReasonOf(err) != apierr.NotFound:
		return err
	case active != "":
		return apierr.New(apierr.FailedPrecondition, "the rollout %q of %q is not over: abort it first", active, r.GetModel()).
			WithField("model").WithMetadata("rollout", active)
	}
	return c.exec(ctx, `DELETE FROM registry_rollouts WHERE model = $1 AND name IN
		(SELECT name FROM registry_rollouts WHERE model = $1 ORDER BY create_time DESC, name LIMIT $2 OFFSET $3)`,
		r.GetModel(), 10*keepRollouts, keepRollouts-1)
}

// RolloutView returns what the next move of a rollout depends on.
func (s *Store) RolloutView(ctx context.Context, model, name string) (RolloutView, error) {
	var out RolloutView
	err := s.snapshot(ctx, "view of a rollout", func(ctx context.Context, q querier) error {
		r, err := s.rollout(ctx, q, model, name)
		if err != nil {
			return err
		}
		out, err = s.rolloutView(ctx, q, r, s.opts.Clock.Now().UTC())
		return err
	})
	return out, err
}

func (s *Store) rolloutView(ctx context.Context, q querier, r *registryv1.Rollout, now time.Time) (v RolloutView, err error) {
	v = RolloutView{Rollout: r, Now: now}
	if v.Split, err = s.split(ctx, q, r.GetModel()); err != nil {
		return v, err
	}
	if v.Alias, err = s.alias(ctx, q, r.GetModel(), r.GetAlias()); err != nil {
		return v, err
	}
	if v.Production, err = s.alias(ctx, q, r.GetModel(), productionAlias); err != nil {
		return v, err
	}
	if AwaitsApproval(r) {
		if v.Approval, err = s.aliasChange(ctx, q, now, r.GetModel(), changeID(r.GetApproval())); err != nil {
			return v, err
		}
	}
	if v.Split == nil || v.Split.GetEtag() == r.GetSplitEtag() {
		return v, nil
	}
	err = q.QueryRowContext(ctx, `SELECT actor FROM registry_changes c JOIN registry_splits s ON s.revision = c.revision
		WHERE s.model = $1`, r.GetModel()).Scan(&v.SplitBy)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil // so long ago that it is no longer kept
	}
	return v, err
}

// MoveRollout lets move decide, in the transaction that does it, what becomes of a
// rollout; move may be called more than once, and nil means that there is nothing
// to do. With a fence the change is refused as CONFLICT of the field lease once
// somebody else holds the lease.
func (s *Store) MoveRollout(ctx context.Context, actor, model, name string, fence *Fence,
	move func(RolloutView) (*RolloutMove, error),
) (*registryv1.Rollout, error) {
	var out *registryv1.Rollout
	err := s.change(ctx, actor, model, rolloutCreated, func(ctx context.Context, c *change) error {
		if err := c.fenced(ctx, fence); err != nil {
			return err
		}
		r, err := s.rollout(ctx, c.tx, model, name)
		if err != nil {
			return err
		}
		v, err := s.rolloutView(ctx, c.tx, r, c.now)
		if err != nil {
			return err
		}
		out = r
		m, err := move(v)
		if err != nil {
			return err
		}
		if m == nil {
			return errUnchanged
		}
		if m.Asked && !RolloutOver(m.Rollout) && r.GetEventCount() >= maxRolloutEvents {
			return errTooManyEvents(r)
		}
		out = m.Rollout
		m.Event.Actor = actor
		c.kind = rolloutKinds()[m.Event.GetKind()]
		return s.applyMove(ctx, c, v, m)
	})
	return out, err
}

// mayTakeOver asks for the candidate alone: what served before must always be able
// to serve again.
func (s *Store) mayTakeOver(r *registryv1.Rollout) func(*registryv1.Version) error {
	return func(v *registryv1.Version) error {
		if v.GetNumber() != r.GetCandidate() {
			return nil
		}
		return s.opts.May(v)
	}
}

func (s *Store) applyMove(ctx context.Context, c *change, v RolloutView, m *RolloutMove) error {
	switch {
	case m.RemoveSplit && v.Split != nil:
		if err := c.removeSplit(ctx, rolloutReason(m.Rollout), 0); err != nil {
			return err
		}
		c.also = append(c.also, splitDeleted)
		m.Rollout.SplitEtag = ""
	case len(m.Arms) > 0 && !slices.EqualFunc(v.Split.GetArms(), m.Arms, sameArm):
		salt, err := s.newSalt(splitSalt)
		if err != nil {
			return err
		}
		if err := s.putSplit(ctx, c, salt, v.Split == nil); err != nil {
			return err
		}
		if err := s.putArms(ctx, c, m.Arms, s.mayTakeOver(m.Rollout)); err != nil {
			return err
		}
		split, err := s.split(ctx, c.tx, c.model)
		if err != nil {
			return err
		}
		if err := c.recordSplit(ctx, split, rolloutReason(m.Rollout), 0); err != nil {
			return err
		}
		m.Rollout.SplitEtag = etagOf(c.revision)
		c.also = append(c.also, splitSet)
	}
	if m.SetAlias && v.Alias.GetVersion() != m.Rollout.GetCandidate() {
		if err := s.moveByRollout(ctx, c, v.Alias, m.Rollout); err != nil {
			return err
		}
		m.Rollout.AliasEtag = etagOf(c.revision)
		c.also = append(c.also, aliasSet)
	}
	if RolloutOver(m.Rollout) && AwaitsApproval(m.Rollout) {
		if err := c.withdraw(ctx, m.Rollout); err != nil {
			return err
		}
	}
	if err := c.touch(ctx); err != nil {
		return err
	}
	return c.putRollout(ctx, m.Rollout, m.Event, false)
}

// moveByRollout points the alias at the candidate, unless somebody has to approve
// of that.
func (s *Store) moveByRollout(ctx context.Context, c *change, there *registryv1.Alias, r *registryv1.Rollout) error {
	if err := s.checkUnprotected(ctx, c, r); err != nil {
		return err
	}
	v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: r.GetCandidate()})
	if err != nil {
		return err
	}
	_, err = s.move(ctx, c, there, v, aliasMove{
		name: r.GetAlias(), version: r.GetCandidate(), digest: v.GetDigest(), reason: rolloutReason(r),
	})
	return err
}

// checkUnprotected refuses to move an alias that became protected after a rollout
// was created which nobody had to approve.
func (s *Store) checkUnprotected(ctx context.Context, c *change, r *registryv1.Rollout) error {
	if r.GetApprovedBy() != "" {
		return nil
	}
	protected, err := s.isProtected(ctx, c.tx, c.model, r.GetAlias())
	if err == nil && protected {
		err = apierr.New(apierr.FailedPrecondition,
			"the alias %q of %q is protected, and nobody was asked to approve of the rollout: abort it and create another one",
			r.GetAlias(), c.model).WithField("alias")
	}
	return err
}

// rolloutReason is what the history says of a rollout's changes.
func rolloutReason(r *registryv1.Rollout) string { return "rollout " + r.GetName() }
