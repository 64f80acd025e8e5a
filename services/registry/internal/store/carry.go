package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
)

// carry decides which of a model's versions watchers are sent: those that
// something needs, and of the others the newest, as many as fit into the bytes
// of a message. It runs at the end of every change. What was left out once
// stays out until something needs it. A change after which not even the newest
// version fits is refused, unless it makes less of what was there.
func (s *Store) carry(ctx context.Context, c *change) error {
	var (
		before, inRange int64
		from            int32
	)
	err := c.tx.QueryRowContext(ctx, `SELECT version_bytes, range_bytes, carried_from FROM registry_models
		WHERE name = $1 AND delete_time = 0`, c.model).Scan(&before, &inRange, &from)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("what is sent of a model: %w", err)
	}
	var experiments int64
	if err := c.tx.QueryRowContext(ctx, `SELECT COALESCE(sum(bytes), 0) FROM registry_experiments WHERE model = $1`,
		c.model).Scan(&experiments); err != nil {
		return fmt.Errorf("bytes of experiments: %w", err)
	}
	for moved := false; ; moved = true {
		outside, err := s.neededOutside(ctx, c, from)
		if err != nil {
			return err
		}
		total := inRange + outside + experiments
		if total <= s.opts.MaxModelBytes || total <= before {
			if total == before && !moved {
				return nil
			}
			return c.exec(ctx, `UPDATE registry_models SET version_bytes = $1, range_bytes = $2, carried_from = $3 WHERE name = $4`,
				total, inRange, from, c.model)
		}
		type entry struct {
			number int32
			bytes  int64
		}
		oldest, err := collect(ctx, c.tx, func(row scanner) (e entry, err error) {
			err = row.Scan(&e.number, &e.bytes)
			return e, err
		}, `SELECT number, bytes FROM registry_versions WHERE model = $1 AND number >= $2 AND delete_time = 0
			ORDER BY number LIMIT 2`, c.model, from)
		if err != nil {
			return fmt.Errorf("oldest versions: %w", err)
		}
		if len(oldest) < 2 {
			return apierr.New(apierr.FailedPrecondition,
				"the newest version of %q and those that aliases, splits and experiments name would take %d bytes with their variants and the experiments, and may take %d",
				c.model, total, s.opts.MaxModelBytes).WithField("model")
		}
		from, inRange = oldest[0].number+1, inRange-oldest[0].bytes
	}
}

// neededOutside returns what the versions take that are older than from and
// needed.
func (s *Store) neededOutside(ctx context.Context, c *change, from int32) (bytes int64, err error) {
	if from <= 1 {
		return 0, nil
	}
	err = c.tx.QueryRowContext(ctx, `SELECT COALESCE(sum(v.bytes), 0) FROM (`+neededVersions+`) n
		JOIN registry_versions v ON v.model = n.model AND v.number = n.version WHERE v.number < $3`,
		c.model, c.model, from).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("bytes of needed versions: %w", err)
	}
	return bytes, nil
}

// resize notes that a version takes so many bytes more, or fewer.
func (c *change) resize(ctx context.Context, number int32, bytes int64) error {
	if err := c.exec(ctx, `UPDATE registry_versions SET bytes = bytes + $1 WHERE model = $2 AND number = $3`,
		bytes, c.model, number); err != nil {
		return err
	}
	return c.inRange(ctx, number, 0, bytes)
}

// inRange counts versions, and the bytes of the one of that number as far as it
// is among those sent for being new.
func (c *change) inRange(ctx context.Context, number int32, versions, bytes int64) error {
	return c.exec(ctx, `UPDATE registry_models SET version_count = version_count + $1, update_time = $2,
		range_bytes = range_bytes + CASE WHEN carried_from <= $3 THEN CAST($4 AS BIGINT) ELSE 0 END WHERE name = $5`,
		versions, micros(c.now), number, bytes, c.model)
}
