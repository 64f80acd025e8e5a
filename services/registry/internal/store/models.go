package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const modelColumns = `name, display_name, labels, version_count, create_time, update_time`

// scanner is a row, or the present one of several.
type scanner interface{ Scan(dest ...any) error }

func scanModel(row scanner) (*registryv1.Model, error) {
	var (
		m                registryv1.Model
		labels           string
		created, updated int64
	)
	if err := row.Scan(&m.Name, &m.DisplayName, &labels, &m.VersionCount, &created, &updated); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(labels), &m.Labels); err != nil {
		return nil, fmt.Errorf("labels of %s: %w", m.GetName(), err)
	}
	m.CreateTime, m.UpdateTime = timestamp(created), timestamp(updated)
	return &m, nil
}

// CreateModel creates a model, which has a name, a display name and labels.
func (s *Store) CreateModel(ctx context.Context, actor string, m *registryv1.Model) (*registryv1.Model, error) {
	if !names.MatchString(m.GetName()) {
		return nil, apierr.Invalid("name", "a model's name is made of lower-case letters, digits, '.', '_' and '-'")
	}
	labels, err := json.Marshal(m.GetLabels())
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	var out *registryv1.Model
	err = s.change(ctx, actor, m.GetName(), modelCreated, func(ctx context.Context, c *change) error {
		var count, same int
		err := c.tx.QueryRowContext(ctx,
			`SELECT count(*), count(CASE WHEN name = $1 THEN 1 END) FROM registry_models`, m.GetName()).Scan(&count, &same)
		switch {
		case err != nil:
			return fmt.Errorf("count models: %w", err)
		case same > 0:
			return apierr.New(apierr.AlreadyExists, "the model %q is there already", m.GetName()).WithField("name")
		case count >= s.opts.MaxModels:
			return apierr.New(apierr.FailedPrecondition, "the registry holds %d models, as many as it may", count)
		}
		row := c.tx.QueryRowContext(ctx, `INSERT INTO registry_models
			(name, display_name, labels, version_count, version_bytes, create_time, update_time)
			VALUES ($1, $2, $3, 0, 0, $4, $4) RETURNING `+modelColumns,
			m.GetName(), m.GetDisplayName(), string(labels), micros(c.now))
		out, err = scanModel(row)
		return err
	})
	return out, err
}

// GetModel returns a model.
func (s *Store) GetModel(ctx context.Context, name string) (*registryv1.Model, error) {
	m, err := s.model(ctx, s.db.Reader(), name)
	return m, failure(ctx, err, "get model %q", name)
}

func (s *Store) model(ctx context.Context, q querier, name string) (*registryv1.Model, error) {
	if !names.MatchString(name) {
		return nil, modelNotFound(name)
	}
	m, err := scanModel(q.QueryRowContext(ctx, `SELECT `+modelColumns+` FROM registry_models WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, modelNotFound(name)
	}
	return m, err
}

// ListModels returns at most limit models by name, those after the given one.
func (s *Store) ListModels(ctx context.Context, after string, limit int) ([]*registryv1.Model, error) {
	out, err := collect(ctx, s.db.Reader(), scanModel,
		`SELECT `+modelColumns+` FROM registry_models WHERE name > $1 ORDER BY name LIMIT $2`, after, limit)
	return out, failure(ctx, err, "list models")
}

// DeleteModel deletes a model with its versions, unless an alias or a split
// stands or a rollout is not over.
func (s *Store) DeleteModel(ctx context.Context, actor, name string) error {
	return s.change(ctx, actor, name, modelDeleted, func(ctx context.Context, c *change) error {
		if _, err := s.model(ctx, c.tx, name); err != nil {
			return err
		}
		standing, err := s.standing(ctx, c.tx, name)
		if err != nil {
			return err
		}
		if len(standing) > 0 {
			list := strings.Join(standing, ", ")
			return apierr.New(apierr.FailedPrecondition, "the model %q still has what may serve: remove %s first", name, list).
				WithField("model").WithMetadata("standing", list)
		}
		return c.exec(ctx, `DELETE FROM registry_models WHERE name = $1`, name)
	})
}

// standing names the aliases, ten at most, the split and the rollout that keep a
// model from being deleted.
func (s *Store) standing(ctx context.Context, q querier, model string) ([]string, error) {
	out, err := collect(ctx, q, func(row scanner) (string, error) {
		var name string
		err := row.Scan(&name)
		return `alias "` + name + `"`, err
	}, `SELECT name FROM registry_aliases WHERE model = $1 ORDER BY name LIMIT 10`, model)
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	var splits int
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM registry_splits WHERE model = $1`, model).Scan(&splits)
	if err != nil {
		return nil, fmt.Errorf("split: %w", err)
	}
	if splits > 0 {
		out = append(out, "the split")
	}
	active, err := s.activeRollout(ctx, q, model)
	if err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	if active != "" {
		out = append(out, `rollout "`+active+`"`)
	}
	return out, nil
}

// touch notes on the model that something of it changed.
func (c *change) touch(ctx context.Context) error {
	return c.exec(ctx, `UPDATE registry_models SET update_time = $1 WHERE name = $2`, micros(c.now), c.model)
}

// collect runs a query and scans every row of its answer.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
