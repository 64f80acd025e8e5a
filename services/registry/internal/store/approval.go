package store

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Decision is what somebody decides of an alias change.
type Decision struct {
	Model, Change string
	// Etag is that of the change that was read; "" is whatever is there.
	Etag string
	// Reason is why, for people.
	Reason string
}

// ApproveAliasChange makes a change that another subject asked for. What it was
// asked about must be as it was: when it has changed since, that is a CONFLICT
// with the present etag. Who asked for it cannot approve it, nor can somebody
// unknown.
func (s *Store) ApproveAliasChange(ctx context.Context, actor string, d Decision) (*registryv1.AliasChange, error) {
	var out *registryv1.AliasChange
	err := s.change(ctx, actor, d.Model, aliasChangeApproved, func(ctx context.Context, c *change) (err error) {
		a, err := s.decidable(ctx, c, d)
		if err != nil {
			return err
		}
		switch {
		case c.actor == "":
			return apierr.New(apierr.PermissionDenied, "nobody is known to approve it")
		case c.actor == a.GetRequestedBy():
			return apierr.New(apierr.PermissionDenied, "you asked for this change, so another must approve it")
		}
		if err := c.decide(ctx, a, stateApproved, d.Reason); err != nil {
			return err
		}
		switch a.GetKind() {
		case registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_PROTECTION:
			_, err = s.putProtection(ctx, c, a.GetProtected())
		case registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_ROLLOUT:
			err = s.approveRollout(ctx, c, a)
		case registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_SET, registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_DELETE,
			registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_UNSPECIFIED:
			err = s.apply(ctx, c, a)
		}
		if err != nil {
			return err
		}
		out, err = s.aliasChange(ctx, c.tx, c.now, d.Model, changeID(d.Change))
		return err
	})
	return out, err
}

// RejectAliasChange ends a change that is not to be made. Who asked for it may,
// too.
func (s *Store) RejectAliasChange(ctx context.Context, actor string, d Decision) (*registryv1.AliasChange, error) {
	var out *registryv1.AliasChange
	err := s.change(ctx, actor, d.Model, aliasChangeRejected, func(ctx context.Context, c *change) error {
		a, err := s.aliasChange(ctx, c.tx, c.now, d.Model, changeID(d.Change))
		if err != nil {
			return err
		}
		if err := checkPending(a, d.Etag); err != nil {
			return err
		}
		if err := c.decide(ctx, a, stateRejected, d.Reason); err != nil {
			return err
		}
		out, err = s.aliasChange(ctx, c.tx, c.now, d.Model, changeID(d.Change))
		return err
	})
	return out, err
}

// decidable returns a change that waits, and of which what it was asked about is
// as it was.
func (s *Store) decidable(ctx context.Context, c *change, d Decision) (*registryv1.AliasChange, error) {
	a, err := s.aliasChange(ctx, c.tx, c.now, d.Model, changeID(d.Change))
	if err != nil {
		return nil, err
	}
	var what, present string
	if a.GetKind() == registryv1.AliasChangeKind_ALIAS_CHANGE_KIND_PROTECTION {
		p, err := s.protection(ctx, c.tx, d.Model)
		if err != nil {
			return nil, err
		}
		what, present = fmt.Sprintf("the protection of %q", d.Model), p.GetEtag()
	} else {
		there, err := s.alias(ctx, c.tx, d.Model, a.GetAlias())
		if err != nil {
			return nil, err
		}
		what, present = fmt.Sprintf("the alias %q of %q", a.GetAlias(), d.Model), there.GetEtag()
	}
	open := a.GetState() == statePending || a.GetState() == stateSuperseded
	if open && a.GetFromEtag() != present {
		return nil, apierr.New(apierr.Conflict, "%s has changed since this was asked for: ask for it anew", what).
			WithField("change").WithMetadata(metaEtag, present)
	}
	return a, checkPending(a, d.Etag)
}

// checkPending refuses a change that is decided, or has another etag than given.
func checkPending(a *registryv1.AliasChange, etag string) error {
	if etag != "" {
		if err := compareEtag("the alias change "+a.GetId(), etag, a.GetEtag()); err != nil {
			return err
		}
	}
	words := map[registryv1.AliasChangeState]string{
		stateApproved: "approved", stateRejected: "rejected", stateExpired: "expired", stateSuperseded: "superseded by another",
	}
	if word, decided := words[a.GetState()]; decided {
		return apierr.New(apierr.FailedPrecondition, "the alias change %s is %s already", a.GetId(), word).
			WithField("change").WithMetadata(metaState, a.GetState().String())
	}
	return nil
}

func (c *change) decide(ctx context.Context, a *registryv1.AliasChange, state registryv1.AliasChangeState, reason string) error {
	return c.exec(ctx, `UPDATE registry_alias_changes SET state = $1, decided_by = $2, decision = $3, decide_time = $4, revision = $5
		WHERE id = $6`, int32(state), c.actor, reason, micros(c.now), c.revision, changeID(a.GetId()))
}

// apply moves the alias as was asked.
func (s *Store) apply(ctx context.Context, c *change, a *registryv1.AliasChange) error {
	there, err := s.alias(ctx, c.tx, c.model, a.GetAlias())
	if err != nil {
		return err
	}
	to, err := s.sameVersion(ctx, c, a.GetToVersion(), a.GetToDigest())
	if err != nil {
		return err
	}
	_, err = s.move(ctx, c, there, to, aliasMove{
		name: a.GetAlias(), version: a.GetToVersion(), digest: a.GetToDigest(), reason: a.GetReason(),
		requestedBy: a.GetRequestedBy(), changeID: changeID(a.GetId()), rollbackTo: a.GetRollbackTo(),
	})
	return err
}
