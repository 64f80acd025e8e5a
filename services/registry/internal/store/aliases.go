package store

import (
	"context"
	"database/sql"
	"errors"

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
	if err := hasModel(ctx, q, model); err != nil || !names.MatchString(name) {
		return nil, err
	}
	a, err := scanAlias(q.QueryRowContext(ctx, aliasQuery+`WHERE a.model = $1 AND a.name = $2`, model, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // what is not there is no error here
	}
	return a, err
}

// SetAlias is ChangeAlias for who gives no reason.
func (s *Store) SetAlias(ctx context.Context, actor, model, name string, version int32, etag string) (*registryv1.Alias, error) {
	a, _, err := s.ChangeAlias(ctx, actor, AliasWish{Model: model, Alias: name, Version: version, Etag: etag})
	return a, err
}

// GetAlias returns an alias.
func (s *Store) GetAlias(ctx context.Context, model, name string) (*registryv1.Alias, error) {
	var out *registryv1.Alias
	err := s.snapshot(ctx, "get alias", func(ctx context.Context, q querier) (err error) {
		if out, err = s.alias(ctx, q, model, name); err != nil {
			return err
		}
		if out == nil {
			return aliasNotFound(model, name)
		}
		return s.addPending(ctx, q, model, out)
	})
	return out, err
}

func aliasNotFound(model, name string) error {
	return notFound("alias", "the model %q has no alias %q", model, name)
}

// ListAliases returns at most limit aliases by name, those after the given one.
func (s *Store) ListAliases(ctx context.Context, model, after string, limit int) ([]*registryv1.Alias, error) {
	var out []*registryv1.Alias
	err := s.snapshot(ctx, "list aliases", func(ctx context.Context, q querier) (err error) {
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanAlias, aliasQuery+`WHERE a.model = $1 AND a.name > $2 ORDER BY a.name LIMIT $3`,
			model, after, limit)
		if err != nil {
			return err
		}
		return s.addPending(ctx, q, model, out...)
	})
	return out, err
}

// DeleteAlias removes an alias that has the given etag, or AnyEtag; of a
// protected one it asks that.
func (s *Store) DeleteAlias(ctx context.Context, actor, model, name, etag string) error {
	_, _, err := s.ChangeAlias(ctx, actor, AliasWish{Model: model, Alias: name, Etag: etag})
	return err
}
