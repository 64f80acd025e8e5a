package store

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
)

// purger is who purges in the record of changes.
const purger = "registry"

// maxPurges is how much one call of Purge removes at most, so that writers are
// not kept waiting by it.
const maxPurges = 100

// Purge removes for good what was deleted and can no longer be restored: so much
// of it as one call may. It returns how many models and versions went.
func (s *Store) Purge(ctx context.Context) (int, error) {
	now := micros(s.opts.Clock.Now())
	models, err := collect(ctx, s.db.Reader(), func(row scanner) (name string, err error) {
		err = row.Scan(&name)
		return name, err
	}, `SELECT name FROM registry_models WHERE purge_time > 0 AND purge_time <= $1 ORDER BY purge_time LIMIT $2`, now, maxPurges)
	if err != nil {
		return 0, failure(ctx, err, "models to purge")
	}
	type due struct {
		model  string
		number int32
	}
	// Those of a deleted model go with it, and those that something still refers to
	// stay: experiments could once name what was deleted.
	versions, err := collect(ctx, s.db.Reader(), func(row scanner) (d due, err error) {
		err = row.Scan(&d.model, &d.number)
		return d, err
	}, `SELECT v.model, v.number FROM registry_versions v JOIN registry_models m ON m.name = v.model
		WHERE v.purge_time > 0 AND v.purge_time <= $1 AND m.delete_time = 0
		AND NOT EXISTS (SELECT 1 FROM registry_experiment_versions x WHERE x.model = v.model AND x.version = v.number) ORDER BY v.purge_time LIMIT $2`, now, maxPurges)
	if err != nil {
		return 0, failure(ctx, err, "versions to purge")
	}
	gone := 0
	for _, name := range models {
		n, err := s.purge(ctx, name, modelPurged, `DELETE FROM registry_models WHERE name = $1 AND purge_time > 0 AND purge_time <= $2`, name, now)
		if gone += n; err != nil {
			return gone, err
		}
	}
	for _, d := range versions {
		n, err := s.purge(ctx, d.model, versionPurged, `DELETE FROM registry_versions
			WHERE model = $1 AND number = $2 AND purge_time > 0 AND purge_time <= $3`, d.model, d.number, now)
		if gone += n; err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// purge removes what the statement does, as one change; another replica may have
// been faster, or somebody has restored it.
func (s *Store) purge(ctx context.Context, model string, k kind, statement string, args ...any) (gone int, err error) {
	err = s.change(ctx, purger, model, k, func(ctx context.Context, c *change) error {
		result, err := c.tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = errUnchanged
		}
		gone = int(n)
		return err
	})
	if apierr.ReasonOf(err) == apierr.ModelNotFound {
		return 0, nil
	}
	return gone, err
}
