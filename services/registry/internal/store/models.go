package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// modelColumns are everything, modelBrief all but the card.
const (
	modelFields  = `name, display_name, labels, version_count, create_time, update_time, task, owner, tenant, licence, delete_time, purge_time`
	modelColumns = modelFields + `, card`
	modelBrief   = modelFields + `, ''`
)

// scanner is a row, or the present one of several.
type scanner interface{ Scan(dest ...any) error }

func scanModel(row scanner) (*registryv1.Model, error) {
	var (
		m                registryv1.Model
		labels           string
		created, updated int64
		deleted, purged  int64
		task             int32
	)
	if err := row.Scan(&m.Name, &m.DisplayName, &labels, &m.VersionCount, &created, &updated, &task, &m.Owner, &m.Tenant,
		&m.Licence, &deleted, &purged, &m.Card); err != nil {
		return nil, err
	}
	m.Task, m.DeleteTime, m.PurgeTime = commonv1.Task(task), since(deleted), since(purged)
	if err := json.Unmarshal([]byte(labels), &m.Labels); err != nil {
		return nil, fmt.Errorf("labels of %s: %w", m.GetName(), err)
	}
	m.CreateTime, m.UpdateTime = timestamp(created), timestamp(updated)
	return &m, nil
}

// CreateModel creates a model, which has m's name and all that is said of it.
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
		var count, same, deleted int
		err := c.tx.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = $1 THEN 1 END),
			count(CASE WHEN name = $1 AND delete_time > 0 THEN 1 END) FROM registry_models`, m.GetName()).Scan(&count, &same, &deleted)
		switch {
		case err != nil:
			return fmt.Errorf("count models: %w", err)
		case deleted > 0:
			return apierr.New(apierr.AlreadyExists, "the model %q was deleted and can still be restored: restore it, or delete it for good", m.GetName()).
				WithField("name")
		case same > 0:
			return apierr.New(apierr.AlreadyExists, "the model %q is there already", m.GetName()).WithField("name")
		case count >= s.opts.MaxModels:
			return apierr.New(apierr.FailedPrecondition, "the registry holds %d models, as many as it may", count)
		}
		row := c.tx.QueryRowContext(ctx, `INSERT INTO registry_models
			(name, display_name, labels, version_count, version_bytes, create_time, update_time, task, owner, tenant, licence, card)
			VALUES ($1, $2, $3, 0, 0, $4, $4, $5, $6, $7, $8, $9) RETURNING `+modelColumns,
			m.GetName(), m.GetDisplayName(), string(labels), micros(c.now), int32(m.GetTask()), m.GetOwner(), m.GetTenant(),
			m.GetLicence(), m.GetCard())
		if out, err = scanModel(row); err != nil {
			return err
		}
		return c.indexModel(ctx, out)
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
	m, err := scanModel(q.QueryRowContext(ctx, `SELECT `+modelColumns+` FROM registry_models WHERE name = $1 AND delete_time = 0`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, modelNotFound(name)
	}
	return m, err
}

// hasModel refuses a model that is not there or deleted.
func hasModel(ctx context.Context, q querier, name string) error {
	if !names.MatchString(name) {
		return modelNotFound(name)
	}
	var one int
	err := q.QueryRowContext(ctx, `SELECT 1 FROM registry_models WHERE name = $1 AND delete_time = 0`, name).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return modelNotFound(name)
	}
	return err
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
