package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func stillNeeded(what, field string, needs []string) error {
	list := strings.Join(needs, ", ")
	return apierr.New(apierr.FailedPrecondition, "%s still has what may serve: remove %s first", what, list).
		WithField(field).WithMetadata(metaNeeds, list)
}

// DeleteModel hides a model with its versions, unless an alias or a split stands.
// Until Options.KeepDeleted is over, it can be restored.
func (s *Store) DeleteModel(ctx context.Context, actor, name string) error {
	if s.opts.KeepDeleted < 0 {
		return s.PurgeModel(ctx, actor, name)
	}
	return s.change(ctx, actor, name, modelDeleted, func(ctx context.Context, c *change) error {
		if err := hasModel(ctx, c.tx, name); err != nil {
			return err
		}
		if err := s.checkUnneeded(ctx, c); err != nil {
			return err
		}
		return c.exec(ctx, `UPDATE registry_models SET delete_time = $1, purge_time = $2, update_time = $1 WHERE name = $3`,
			micros(c.now), micros(c.now.Add(s.opts.KeepDeleted)), name)
	})
}

func (s *Store) checkUnneeded(ctx context.Context, c *change) error {
	needs, err := s.needs(ctx, c.tx, c.model, 0)
	if err == nil && len(needs) > 0 {
		err = stillNeeded(fmt.Sprintf("the model %q", c.model), "model", needs)
	}
	return err
}

// PurgeModel deletes a model for good, whether it is hidden already or not, unless
// an alias or a split stands.
func (s *Store) PurgeModel(ctx context.Context, actor, name string) error {
	return s.change(ctx, actor, name, modelPurged, func(ctx context.Context, c *change) error {
		if _, err := s.anyModel(ctx, c.tx, name); err != nil {
			return err
		}
		if err := s.checkUnneeded(ctx, c); err != nil {
			return err
		}
		return c.exec(ctx, `DELETE FROM registry_models WHERE name = $1`, name)
	})
}

// anyModel returns a model, also one that is deleted.
func (s *Store) anyModel(ctx context.Context, q querier, name string) (*registryv1.Model, error) {
	if !names.MatchString(name) {
		return nil, modelNotFound(name)
	}
	m, err := scanModel(q.QueryRowContext(ctx, `SELECT `+modelColumns+` FROM registry_models WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, modelNotFound(name)
	}
	return m, err
}

// TenantOf returns the tenant of a model, deleted or not; false when there is no
// such model.
func (s *Store) TenantOf(ctx context.Context, name string) (tenant string, found bool, err error) {
	m, err := s.anyModel(ctx, s.db.Reader(), name)
	if apierr.ReasonOf(err) == apierr.ModelNotFound {
		return "", false, nil
	}
	return m.GetTenant(), err == nil, failure(ctx, err, "tenant of %q", name)
}

// UndeleteModel restores a model. One that is there stays as it is.
func (s *Store) UndeleteModel(ctx context.Context, actor, name string) (*registryv1.Model, error) {
	var out *registryv1.Model
	err := s.change(ctx, actor, name, modelRestored, func(ctx context.Context, c *change) (err error) {
		if out, err = s.anyModel(ctx, c.tx, name); err != nil {
			return err
		}
		if out.GetDeleteTime() == nil {
			return errUnchanged
		}
		out, err = scanModel(c.tx.QueryRowContext(ctx, `UPDATE registry_models
			SET delete_time = 0, purge_time = 0, update_time = $1 WHERE name = $2 RETURNING `+modelColumns, micros(c.now), name))
		return err
	})
	return out, err
}

// DeleteVersion hides a version, unless an alias or an arm names it. Until
// Options.KeepDeleted is over, it can be restored.
func (s *Store) DeleteVersion(ctx context.Context, actor, model string, key VersionKey) error {
	if s.opts.KeepDeleted < 0 {
		return s.PurgeVersion(ctx, actor, model, key)
	}
	return s.change(ctx, actor, model, versionDeleted, func(ctx context.Context, c *change) error {
		v, err := s.version(ctx, c.tx, model, key)
		if err != nil {
			return err
		}
		return s.hideVersion(ctx, c, v, c.now.Add(s.opts.KeepDeleted))
	})
}

// hideVersion hides a version until it is purged.
func (s *Store) hideVersion(ctx context.Context, c *change, v *registryv1.Version, purge time.Time) error {
	needs, err := s.needs(ctx, c.tx, c.model, v.GetNumber())
	if err != nil {
		return err
	}
	if len(needs) > 0 {
		return stillNeeded(fmt.Sprintf("version %d of %q", v.GetNumber(), c.model), "version", needs)
	}
	var bytes int64
	err = c.tx.QueryRowContext(ctx, `UPDATE registry_versions SET delete_time = $1, purge_time = $2
		WHERE model = $3 AND number = $4 RETURNING bytes`, micros(c.now), micros(purge), c.model, v.GetNumber()).Scan(&bytes)
	if err != nil {
		return fmt.Errorf("hide a version: %w", err)
	}
	return c.inRange(ctx, v.GetNumber(), -1, -bytes)
}

// PurgeVersion deletes a version for good, whether it is hidden already or not,
// unless an alias or an arm names it. Its number is not given again.
func (s *Store) PurgeVersion(ctx context.Context, actor, model string, key VersionKey) error {
	return s.change(ctx, actor, model, versionPurged, func(ctx context.Context, c *change) error {
		v, err := s.anyVersion(ctx, c.tx, model, key)
		if err != nil {
			return err
		}
		if v.GetDeleteTime() == nil {
			if err := s.hideVersion(ctx, c, v, c.now); err != nil {
				return err
			}
		}
		return c.exec(ctx, `DELETE FROM registry_versions WHERE model = $1 AND number = $2`, model, v.GetNumber())
	})
}

// anyVersion returns a version without its variants, also one that is deleted, of
// a model that is not.
func (s *Store) anyVersion(ctx context.Context, q querier, model string, key VersionKey) (*registryv1.Version, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	condition, value := key.condition()
	v, err := scanVersion(q.QueryRowContext(ctx,
		`SELECT `+versionColumns+` FROM registry_versions WHERE model = $1 AND `+condition, model, value))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("version", "the model %q has no version %v", model, value)
	}
	return v, err
}

// UndeleteVersion restores a version. One that is there stays as it is.
func (s *Store) UndeleteVersion(ctx context.Context, actor, model string, key VersionKey) (*registryv1.Version, error) {
	var out *registryv1.Version
	err := s.change(ctx, actor, model, versionRestored, func(ctx context.Context, c *change) error {
		v, err := s.anyVersion(ctx, c.tx, model, key)
		if err != nil {
			return err
		}
		if v.GetDeleteTime() != nil {
			var bytes int64
			err := c.tx.QueryRowContext(ctx, `UPDATE registry_versions SET delete_time = 0, purge_time = 0
				WHERE model = $1 AND number = $2 RETURNING bytes`, model, v.GetNumber()).Scan(&bytes)
			if err != nil {
				return fmt.Errorf("restore a version: %w", err)
			}
			if err := c.inRange(ctx, v.GetNumber(), 1, bytes); err != nil {
				return err
			}
		}
		if out, err = s.wholeVersion(ctx, c.tx, model, VersionKey{Number: v.GetNumber()}); err != nil {
			return err
		}
		if v.GetDeleteTime() == nil {
			return errUnchanged
		}
		return nil
	})
	return out, err
}
