package store

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// AliasWish is what somebody wants of an alias.
type AliasWish struct {
	Model, Alias string
	// Version is the one that it shall name; 0 removes the alias.
	Version int32
	// Etag is that of what is there: "" for nothing, AnyEtag for whatever is.
	Etag string
	// Reason is why, for people.
	Reason string
}

// ChangeAlias points an alias at a version, or removes it, when what is there has
// the given etag. An alias that names that version already stays as it is. A
// protected alias stays as it is too: the change that waits for an approval comes
// back, and its id with the alias. A name that a reference reads otherwise is
// refused, for nobody could ask for it; one from before can still be deleted.
func (s *Store) ChangeAlias(ctx context.Context, actor string, w AliasWish) (
	alias *registryv1.Alias, pending *registryv1.AliasChange, err error,
) {
	k := aliasDeleted
	if w.Version != 0 {
		k = aliasSet
		if err := checkAliasName(w.Alias); err != nil {
			return nil, nil, err
		}
	}
	err = s.change(ctx, actor, w.Model, k, func(ctx context.Context, c *change) (err error) {
		alias, err = s.aliasIf(ctx, c, w.Alias, w.Etag, w.Version == 0)
		if err != nil {
			return err
		}
		alias, pending, err = s.moveOrAsk(ctx, c, alias, aliasMove{name: w.Alias, version: w.Version, reason: w.Reason})
		return err
	})
	return alias, pending, err
}

func checkAliasName(name string) error {
	if !names.MatchString(name) {
		return apierr.Invalid("alias", "an alias's name is made of lower-case letters, digits, '.', '_' and '-'")
	}
	if versionLike.MatchString(name) {
		return apierr.Invalid("alias",
			"must not be like a version's number (v3) or a digest (sha256): after the @ of a reference it would be taken for one")
	}
	return nil
}

// aliasIf returns an alias that has the given etag; nil when there is none and
// the etag says so, unless it must be there.
func (s *Store) aliasIf(ctx context.Context, c *change, name, etag string, must bool) (*registryv1.Alias, error) {
	there, err := s.alias(ctx, c.tx, c.model, name)
	if err != nil {
		return nil, err
	}
	if must && there == nil {
		return nil, aliasNotFound(c.model, name)
	}
	return there, compareEtag(fmt.Sprintf("the alias %q of %q", name, c.model), etag, there.GetEtag())
}

// aliasMove is a change of an alias that the transaction is about to make.
type aliasMove struct {
	name        string
	version     int32 // 0 removes it
	digest      string
	reason      string
	requestedBy string // when another approved it
	changeID    int64
	rollbackTo  int64
}

// moveOrAsk makes the move, or asks for it when the alias is protected.
func (s *Store) moveOrAsk(ctx context.Context, c *change, there *registryv1.Alias, m aliasMove) (
	*registryv1.Alias, *registryv1.AliasChange, error,
) {
	if there.GetVersion() == m.version {
		return there, nil, errUnchanged
	}
	var to *registryv1.Version
	if m.version != 0 {
		var err error
		if to, err = s.version(ctx, c.tx, c.model, VersionKey{Number: m.version}); err != nil {
			return nil, nil, err
		}
		m.digest = to.GetDigest()
	}
	protected, err := s.isProtected(ctx, c.tx, c.model, m.name)
	if err != nil {
		return nil, nil, err
	}
	if !protected {
		out, err := s.move(ctx, c, there, to, m)
		return out, nil, err
	}
	pending, err := s.askForAlias(ctx, c, there, m)
	if there == nil {
		there = &registryv1.Alias{Model: c.model, Name: m.name}
	}
	there.PendingChange = pending.GetId()
	return there, pending, err
}

// move makes the change to a version, nil to remove the alias, notes it in the
// history, and ends what was asked of the alias before: it was asked of another state.
func (s *Store) move(ctx context.Context, c *change, there *registryv1.Alias, to *registryv1.Version, m aliasMove) (*registryv1.Alias, error) {
	if err := s.checkMove(ctx, c, to, m); err != nil {
		return nil, err
	}
	if err := c.touch(ctx); err != nil {
		return nil, err
	}
	var err error
	switch {
	case m.version == 0:
		err = c.exec(ctx, `DELETE FROM registry_aliases WHERE model = $1 AND name = $2`, c.model, m.name)
	case there == nil:
		err = s.insertAlias(ctx, c, m)
	default:
		err = c.exec(ctx, `UPDATE registry_aliases SET version = $1, revision = $2, update_time = $3
			WHERE model = $4 AND name = $5`, m.version, c.revision, micros(c.now), c.model, m.name)
	}
	if err != nil {
		return nil, err
	}
	if err := c.recordAlias(ctx, m); err != nil {
		return nil, err
	}
	if err := c.supersede(ctx, m.name); err != nil {
		return nil, err
	}
	return s.alias(ctx, c.tx, c.model, m.name)
}

// checkMove refuses a version that must not serve, and removing an alias that an
// experiment needs.
func (s *Store) checkMove(ctx context.Context, c *change, to *registryv1.Version, m aliasMove) error {
	if to != nil {
		return s.opts.May(to)
	}
	needing, err := s.experimentsNeeding(ctx, c.tx, c.model, needsAlias(m.name))
	if err != nil {
		return err
	}
	return refuseNeeded(fmt.Sprintf("the alias %q of %q", m.name, c.model), "alias", needing)
}

func (s *Store) insertAlias(ctx context.Context, c *change, m aliasMove) error {
	var count int
	err := c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_aliases WHERE model = $1`, c.model).Scan(&count)
	if err != nil {
		return fmt.Errorf("count aliases: %w", err)
	}
	if count >= s.opts.MaxAliases {
		return apierr.New(apierr.FailedPrecondition, "the model %q has %d aliases, as many as it may", c.model, count).
			WithField("alias")
	}
	return c.exec(ctx, `INSERT INTO registry_aliases (model, name, version, revision, update_time) VALUES ($1, $2, $3, $4, $5)`,
		c.model, m.name, m.version, c.revision, micros(c.now))
}
