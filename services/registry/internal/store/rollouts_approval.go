package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// askForRollout has a new rollout wait for another subject where it moves what is
// protected: the alias in the end, or, step by step, what answers the bare name in
// the place of production.
func (s *Store) askForRollout(ctx context.Context, c *change, v RolloutView) error {
	r := v.Rollout
	protected, err := s.guarded(ctx, c, r.GetAlias(), productionAlias)
	if err != nil || !protected {
		return err
	}
	to, err := s.version(ctx, c.tx, c.model, VersionKey{Number: r.GetCandidate()})
	if err != nil {
		return err
	}
	a, err := s.ask(ctx, c, &registryv1.AliasChange{
		Alias: r.GetAlias(), Kind: registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_ROLLOUT,
		FromVersion: v.Alias.GetVersion(), FromDigest: v.Alias.GetDigest(), FromEtag: v.Alias.GetEtag(),
		ToVersion: to.GetNumber(), ToDigest: to.GetDigest(), Reason: rolloutReason(r),
	})
	if err != nil {
		return err
	}
	r.Approval = a.GetId()
	c.kind = rolloutCreated
	return nil
}

// guarded reports whether one of the aliases is protected.
func (s *Store) guarded(ctx context.Context, c *change, aliases ...string) (bool, error) {
	for _, a := range aliases {
		if protected, err := s.isProtected(ctx, c.tx, c.model, a); err != nil || protected {
			return protected, err
		}
	}
	return false, nil
}

// AwaitsApproval reports whether a rollout may not begin yet.
func AwaitsApproval(r *registryv1.Rollout) bool {
	return r.GetApproval() != "" && r.GetApprovedBy() == ""
}

// approveRollout lets the rollout begin that a change was asked for. The change is
// decided already; its alias moves when the rollout has come to its end.
func (s *Store) approveRollout(ctx context.Context, c *change, a *registryv1.AliasChange) error {
	name, err := s.activeRollout(ctx, c.tx, c.model)
	if err != nil {
		return err
	}
	over := apierr.New(apierr.FailedPrecondition, "the rollout that waited for this is over").WithField("change")
	if name == "" {
		return over
	}
	r, err := s.rollout(ctx, c.tx, c.model, name)
	if err != nil {
		return err
	}
	if r.GetApproval() != a.GetId() {
		return over
	}
	if _, err := s.sameVersion(ctx, c, a.GetToVersion(), a.GetToDigest()); err != nil {
		return err
	}
	r = proto.CloneOf(r)
	r.ApprovedBy = c.actor
	if err := c.touch(ctx); err != nil {
		return err
	}
	return c.putRollout(ctx, r, &registryv1.RolloutEvent{
		Kind: registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_APPROVED, Actor: c.actor,
		Words: fmt.Sprintf("%s approved the alias change %s: the rollout may begin", c.actor, a.GetId()),
	}, false)
}

// withdraw ends the alias change of a rollout that is over before anybody approved.
func (c *change) withdraw(ctx context.Context, r *registryv1.Rollout) error {
	return c.exec(ctx, `UPDATE registry_alias_changes SET state = $1, decided_by = $2, decision = $3, decide_time = $4, revision = $5
		WHERE id = $6 AND model = $7 AND state = $8`, int32(stateRejected), c.actor, "the rollout is over", micros(c.now), c.revision,
		changeID(r.GetApproval()), c.model, int32(statePending))
}

// checkSplit refuses a split by which the bare name would be answered by another
// version than the one that a protected alias names: a split is asked before the
// alias, so that it would be a way around the approval.
func (s *Store) checkSplit(ctx context.Context, c *change, arms []*registryv1.Arm) error {
	protected, err := s.guarded(ctx, c, productionAlias)
	if err != nil || !protected {
		return err
	}
	there, err := s.alias(ctx, c.tx, c.model, productionAlias)
	if err != nil {
		return err
	}
	for i, a := range arms {
		if a.GetWeight() > 0 && a.GetVersion() != there.GetVersion() {
			return apierr.New(apierr.FailedPrecondition,
				"the alias %q of %q is protected, and this split would have version %d answer in its place: create a rollout, which another approves",
				productionAlias, c.model, a.GetVersion()).WithField(fmt.Sprintf("arms[%d].version", i))
		}
	}
	return nil
}
