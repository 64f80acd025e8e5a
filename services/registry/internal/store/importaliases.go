package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// importReason is what the history says of what an archive brought.
const importReason = "imported"

// putAliases puts a model's aliases, by the rules of SetAlias, but those that are
// protected: these wait for an approval like every change of them.
func (s *Store) putAliases(ctx context.Context, c *change, a *registryv1.ArchivedModel) (put, waiting []*registryv1.Alias, err error) {
	if n := len(a.GetAliases()); n > s.opts.MaxAliases {
		return nil, nil, apierr.New(apierr.FailedPrecondition, "the model %q would have %d aliases, and may have %d", c.model, n, s.opts.MaxAliases).WithField("models")
	}
	for i, alias := range a.GetAliases() {
		if !names.MatchString(alias.GetName()) || versionLike.MatchString(alias.GetName()) || i > 0 && alias.GetName() <= a.GetAliases()[i-1].GetName() {
			return nil, nil, apierr.Invalid("models", "%q is no alias of %q in its place", alias.GetName(), c.model)
		}
		v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: alias.GetVersion()})
		if err == nil {
			err = s.opts.May(v)
		}
		if err != nil {
			return nil, nil, inField(err, "models")
		}
		waits, err := s.isProtected(ctx, c.tx, c.model, alias.GetName())
		if err != nil {
			return nil, nil, err
		}
		if waits {
			waiting = append(waiting, alias)
			continue
		}
		m := aliasMove{name: alias.GetName(), version: alias.GetVersion(), digest: v.GetDigest(), reason: importReason}
		alias.Digest = v.GetDigest()
		put = append(put, alias)
		if err := s.insertAlias(ctx, c, m); err != nil {
			return nil, nil, err
		}
	}
	return put, waiting, nil
}

// askImported asks for what an archive says of a protected alias, as a change of
// its own after the import; nothing when it is asked for already.
func (s *Store) askImported(ctx context.Context, tx *sql.Tx, actor, model string, alias *registryv1.Alias) ([]Commit, error) {
	c := &change{tx: tx, model: model, kind: aliasChangeAsked, actor: actor, now: s.opts.Clock.Now().UTC()}
	floor, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	_, _, err = s.moveOrAsk(ctx, c, nil, aliasMove{name: alias.GetName(), version: alias.GetVersion(), reason: importReason})
	if errors.Is(err, errUnchanged) {
		return nil, c.giveBack(ctx)
	}
	if err == nil {
		err = s.record(ctx, c, floor)
	}
	return []Commit{{Kind: string(c.kind), Model: model, Revision: c.revision, Actor: actor}}, err
}

// giveBack gives the revision back that the change took last.
func (c *change) giveBack(ctx context.Context) error {
	return c.exec(ctx, `UPDATE registry_state SET revision = revision - 1 WHERE id = 1`)
}

// withoutWaiting is a model of an archive without the aliases that are not there
// because they wait for an approval: so the same import again changes nothing.
func (s *Store) withoutWaiting(ctx context.Context, c *change, there, m *registryv1.ArchivedModel) (*registryv1.ArchivedModel, error) {
	out := moved(m)
	var aliases []*registryv1.Alias
	for _, a := range out.GetAliases() {
		waits, err := s.isProtected(ctx, c.tx, c.model, a.GetName())
		if err != nil {
			return nil, err
		}
		set := slices.ContainsFunc(there.GetAliases(), func(t *registryv1.Alias) bool { return t.GetName() == a.GetName() })
		if set || !waits {
			aliases = append(aliases, a)
		}
	}
	out.Aliases = aliases
	return out, nil
}
