package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const (
	aliasStateColumns = `SELECT model, alias, revision, version, digest, actor, requested_by, reason, change_id, rollback_to, commit_time
	FROM registry_alias_history `
	aliasStateQuery = aliasStateColumns + `WHERE model = $1 AND alias = $2 `
)

func scanAliasState(row scanner) (*registryv1.AliasState, error) {
	var (
		a             registryv1.AliasState
		id, committed int64
	)
	err := row.Scan(&a.Model, &a.Alias, &a.Revision, &a.Version, &a.Digest, &a.Actor, &a.RequestedBy, &a.Reason,
		&id, &a.RollbackTo, &committed)
	if err != nil {
		return nil, err
	}
	if id != 0 {
		a.Change = changeName(id)
	}
	a.CreateTime = timestamp(committed)
	return &a, nil
}

// recordAlias adds the state that begins now to the alias's history.
func (c *change) recordAlias(ctx context.Context, m aliasMove) error {
	return c.exec(ctx, `INSERT INTO registry_alias_history
		(model, alias, revision, version, digest, actor, requested_by, reason, change_id, rollback_to, commit_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		c.model, m.name, c.revision, m.version, m.digest, c.actor, m.requestedBy, m.reason, m.changeID, m.rollbackTo, micros(c.now))
}

// AliasHistory returns at most limit states that an alias has had, newest first,
// those that began before the given revision; 0 begins at the newest. An alias
// that never was, and one of a model that never was, has none: what is gone keeps
// its history.
func (s *Store) AliasHistory(ctx context.Context, model, name string, before int64, limit int) ([]*registryv1.AliasState, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	out, err := collect(ctx, s.db.Reader(), scanAliasState,
		aliasStateQuery+`AND revision < $3 ORDER BY revision DESC LIMIT $4`, model, name, before, limit)
	return out, failure(ctx, err, "history of alias %q of %q", name, model)
}

// Rollback is what shall come back: the state that held at a revision.
type Rollback struct {
	Revision int64
	// Etag is that of what is there: "" for nothing, AnyEtag for whatever is.
	Etag string
	// Reason is why, for people.
	Reason string
}

// RollbackAlias lets an alias name what it named at a revision, or be gone if it
// was, when what is there has the given etag. Of a protected alias it asks that,
// as ChangeAlias does. A version that is no longer the same, because the model was
// deleted and made again, is refused.
func (s *Store) RollbackAlias(ctx context.Context, actor, model, name string, r Rollback) (
	alias *registryv1.Alias, pending *registryv1.AliasChange, err error,
) {
	err = s.change(ctx, actor, model, aliasRolledBack, func(ctx context.Context, c *change) (err error) {
		if alias, err = s.aliasIf(ctx, c, name, r.Etag, false); err != nil {
			return err
		}
		was, err := c.aliasAt(ctx, name, r.Revision)
		if err != nil {
			return err
		}
		if _, err := s.sameVersion(ctx, c, was.GetVersion(), was.GetDigest()); err != nil {
			return err
		}
		if was.GetVersion() != 0 {
			if err := checkAliasName(name); err != nil {
				return err
			}
		}
		alias, pending, err = s.moveOrAsk(ctx, c, alias, aliasMove{
			name: name, version: was.GetVersion(), reason: r.Reason, rollbackTo: r.Revision,
		})
		return err
	})
	return alias, pending, err
}

// aliasAt returns the state that an alias had at a revision.
func (c *change) aliasAt(ctx context.Context, name string, revision int64) (*registryv1.AliasState, error) {
	if revision >= c.revision {
		return nil, noStateAt(revision)
	}
	was, err := scanAliasState(c.tx.QueryRowContext(ctx,
		aliasStateQuery+`AND revision <= $3 ORDER BY revision DESC LIMIT 1`, c.model, name, revision))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noStateAt(revision)
	}
	if err != nil {
		return nil, fmt.Errorf("state at %d: %w", revision, err)
	}
	return was, nil
}

func noStateAt(revision int64) error {
	return notFound("revision", "nothing is known of it at revision %d", revision)
}

// sameVersion returns a version, nil for 0, and refuses one that is gone or has
// another digest than it had.
func (s *Store) sameVersion(ctx context.Context, c *change, number int32, digest string) (*registryv1.Version, error) {
	if number == 0 {
		return nil, nil //nolint:nilnil // 0 stands for none
	}
	v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: number})
	if err != nil && apierr.ReasonOf(err) != apierr.NotFound {
		return nil, err
	}
	if v.GetDigest() != digest {
		return nil, apierr.New(apierr.FailedPrecondition, "version %d of %q is no longer the one that it was, %s", number, c.model, digest).
			WithField("revision").WithMetadata(metaDigest, digest)
	}
	return v, nil
}
