package files

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Files go in one transaction, where their pieces are rows. Otherwise in three steps:
// the file has ended, so that nobody sees it and Purge finds it; the pieces are removed;
// the file is forgotten, and gives its room back. Whoever dies in between leaves what
// Purge goes on with, and never a piece that nothing knows of.

// ended is the time of files that are to be removed: long ago.
const ended = 1

// leaving is a file that goes.
type leaving struct {
	id, tenant, place string
	pieces            int64
}

const leavingColumns = `id, tenant, place, chunks`

func (l *leaving) scan(row *sql.Row, more ...any) error {
	return row.Scan(append([]any{&l.id, &l.tenant, &l.place, &l.pieces}, more...)...)
}

// begin takes the first step, or all of them; done says which.
func (l *leaving) begin(ctx context.Context, tx *sql.Tx) (done bool, err error) {
	if l.place == PlaceRows {
		return true, remove(ctx, tx, l.tenant, l.id)
	}
	_, err = tx.ExecContext(ctx, `UPDATE edge_files SET expire_time = $2 WHERE id = $1`, l.id, ended)
	return false, err
}

// finish takes the other steps.
func (s *SQLStore) finish(ctx context.Context, l leaving) error {
	c, err := s.contents(l.place)
	if err != nil {
		return err
	}
	if err := c.Remove(ctx, l.id, l.pieces); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error { return remove(ctx, tx, l.tenant, l.id) })
}

// Abandon implements Store.
func (s *SQLStore) Abandon(ctx context.Context, id string) error {
	var l leaving
	done := true
	err := s.turn(ctx, "abandon", func(ctx context.Context, tx *sql.Tx) error {
		err := l.scan(tx.QueryRowContext(ctx, `SELECT `+leavingColumns+` FROM edge_files WHERE id = $1 AND ready = 0`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			done, err = l.begin(ctx, tx)
		}
		return err
	})
	if err == nil && !done {
		err = s.finish(ctx, l)
	}
	return err
}

const inUse = `EXISTS (SELECT 1 FROM edge_batches b WHERE b.input_file = edge_files.id AND b.unfinished = 1)`

// Delete implements Store.
func (s *SQLStore) Delete(ctx context.Context, o Owner, id string, now time.Time) error {
	var l leaving
	var done bool
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var used bool
		err := l.scan(tx.QueryRowContext(ctx, `SELECT `+leavingColumns+`, `+inUse+` FROM edge_files
			WHERE id = $1 AND tenant = $2 AND subject = $3 AND ready = 1 AND (expire_time = 0 OR expire_time > $4)`, id, o.Tenant, o.Subject, sqldb.Micros(now)), &used)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return err
		case used:
			return ErrInUse
		}
		done, err = l.begin(ctx, tx)
		return err
	})
	if err == nil && !done {
		err = s.finish(ctx, l)
	}
	if err != nil {
		return fmt.Errorf("files: delete: %w", err)
	}
	return nil
}

// Purge implements Store. One file in a transaction: they are large. One whose pieces
// cannot be removed is passed over, and stays for the next time.
func (s *SQLStore) Purge(ctx context.Context, now time.Time, limit int) (int, error) {
	var failed []error
	for n := 0; n+len(failed) < limit; {
		var l leaving
		found, done := true, false
		err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			err := l.scan(tx.QueryRowContext(ctx, `SELECT `+leavingColumns+` FROM edge_files WHERE expire_time > 0 AND expire_time <= $1 AND NOT `+inUse+`
				ORDER BY expire_time, id LIMIT 1 OFFSET $2`, sqldb.Micros(now), len(failed)))
			if found = !errors.Is(err, sql.ErrNoRows); !found {
				return nil
			}
			if err == nil && l.place == PlaceRows {
				done, err = l.begin(ctx, tx)
			}
			return err
		})
		if err != nil {
			return n, fmt.Errorf("files: purge: %w", err)
		}
		if !found {
			return n, errors.Join(failed...)
		}
		if !done {
			if err := s.finish(ctx, l); err != nil {
				failed = append(failed, fmt.Errorf("files: purge: %s: %w", l.id, err))
				continue
			}
		}
		n++
	}
	return limit - len(failed), errors.Join(failed...)
}

// remove deletes a file with its pieces, and gives its room back.
func remove(ctx context.Context, tx *sql.Tx, tenant, id string) error {
	var bytes int64
	err := tx.QueryRowContext(ctx, `DELETE FROM edge_files WHERE id = $1 RETURNING bytes`, id).Scan(&bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM edge_file_chunks WHERE file = $1`, id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE edge_file_totals SET files = files - 1, bytes = bytes - $2 WHERE tenant = $1`, tenant, bytes)
	return err
}
