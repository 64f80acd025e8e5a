package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const aliasQuery = `SELECT a.model, a.name, a.version, v.digest, a.revision, a.update_time
	FROM registry_aliases a JOIN registry_versions v ON v.model = a.model AND v.number = a.version `

func scanAlias(row scanner) (*registryv1.Alias, error) {
	var (
		a                 registryv1.Alias
		revision, updated int64
	)
	if err := row.Scan(&a.Model, &a.Name, &a.Version, &a.Digest, &revision, &updated); err != nil {
		return nil, err
	}
	a.Etag, a.UpdateTime = etagOf(revision), timestamp(updated)
	return &a, nil
}

// alias returns an alias, or nil when the model has none of that name. A model
// that is not there is an error.
func (s *Store) alias(ctx context.Context, q querier, model, name string) (*registryv1.Alias, error) {
	if _, err := s.model(ctx, q, model); err != nil || !names.MatchString(name) {
		return nil, err
	}
	a, err := scanAlias(q.QueryRowContext(ctx, aliasQuery+`WHERE a.model = $1 AND a.name = $2`, model, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // what is not there is no error here
	}
	return a, err
}

// SetAlias points an alias at a version when what is there has the given etag:
// "" for nothing there, AnyEtag for whatever is. An alias that names that
// version already stays as it is. A name that a reference reads otherwise is
// refused, for nobody could ask for it; one from before can still be deleted.
func (s *Store) SetAlias(ctx context.Context, actor, model, name string, version int32, etag string) (*registryv1.Alias, error) {
	if !names.MatchString(name) {
		return nil, apierr.Invalid("alias", "an alias's name is made of lower-case letters, digits, '.', '_' and '-'")
	}
	if versionLike.MatchString(name) {
		return nil, apierr.Invalid("alias",
			"must not be like a version's number (v3) or a digest (sha256): after the @ of a reference it would be taken for one")
	}
	var out *registryv1.Alias
	err := s.change(ctx, actor, model, aliasSet, func(ctx context.Context, c *change) (err error) {
		out, err = s.alias(ctx, c.tx, model, name)
		if err != nil {
			return err
		}
		if err := compareEtag(fmt.Sprintf("the alias %q of %q", name, model), etag, out.GetEtag()); err != nil {
			return err
		}
		if out.GetVersion() == version {
			return errUnchanged
		}
		v, err := s.version(ctx, c.tx, model, VersionKey{Number: version})
		if err == nil {
			err = s.opts.May(v)
		}
		if err != nil {
			return err
		}
		if err := s.putAlias(ctx, c, name, version, out == nil); err != nil {
			return err
		}
		out, err = s.alias(ctx, c.tx, model, name)
		return err
	})
	return out, err
}

func (s *Store) putAlias(ctx context.Context, c *change, name string, version int32, isNew bool) error {
	if err := c.touch(ctx); err != nil {
		return err
	}
	if !isNew {
		return c.exec(ctx, `UPDATE registry_aliases SET version = $1, revision = $2, update_time = $3
			WHERE model = $4 AND name = $5`, version, c.revision, micros(c.now), c.model, name)
	}
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
		c.model, name, version, c.revision, micros(c.now))
}

// GetAlias returns an alias.
func (s *Store) GetAlias(ctx context.Context, model, name string) (*registryv1.Alias, error) {
	a, err := s.alias(ctx, s.db.Reader(), model, name)
	if err == nil && a == nil {
		err = aliasNotFound(model, name)
	}
	return a, failure(ctx, err, "get alias %q of %q", name, model)
}

func aliasNotFound(model, name string) error {
	return notFound("alias", "the model %q has no alias %q", model, name)
}

// ListAliases returns at most limit aliases by name, those after the given one.
func (s *Store) ListAliases(ctx context.Context, model, after string, limit int) ([]*registryv1.Alias, error) {
	var out []*registryv1.Alias
	err := s.snapshot(ctx, "list aliases", func(ctx context.Context, q querier) (err error) {
		if _, err := s.model(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanAlias, aliasQuery+`WHERE a.model = $1 AND a.name > $2 ORDER BY a.name LIMIT $3`,
			model, after, limit)
		return err
	})
	return out, err
}

// DeleteAlias removes an alias that has the given etag, or AnyEtag.
func (s *Store) DeleteAlias(ctx context.Context, actor, model, name, etag string) error {
	return s.change(ctx, actor, model, aliasDeleted, func(ctx context.Context, c *change) error {
		there, err := s.alias(ctx, c.tx, model, name)
		if err != nil {
			return err
		}
		if there == nil {
			return aliasNotFound(model, name)
		}
		if err := compareEtag(fmt.Sprintf("the alias %q of %q", name, model), etag, there.GetEtag()); err != nil {
			return err
		}
		needing, err := s.experimentsNeeding(ctx, c.tx, model, needsAlias(name))
		if err != nil {
			return err
		}
		if err := refuseNeeded(fmt.Sprintf("the alias %q of %q", name, model), "alias", needing); err != nil {
			return err
		}
		if err := c.touch(ctx); err != nil {
			return err
		}
		return c.exec(ctx, `DELETE FROM registry_aliases WHERE model = $1 AND name = $2`, model, name)
	})
}
