package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// expiry is when a document ends, as it is kept; 0: never.
func expiry(d Document) int64 {
	if d.ExpireTime.IsZero() {
		return 0
	}
	return d.ExpireTime.UnixNano()
}

// noteExpiry notes that documents of the collection may end: its searches ask
// for it from then on.
func noteExpiry(ctx context.Context, tx *sql.Tx, c Collection, docs []Version) error {
	if c.Expires {
		return nil
	}
	for _, d := range docs {
		if d.ExpireTime.IsZero() {
			continue
		}
		return markExpires(ctx, tx, c.UID)
	}
	return nil
}

func markExpires(ctx context.Context, tx *sql.Tx, uid string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE search_collections SET expires = 1 WHERE uid = $1`, uid); err != nil {
		return fmt.Errorf("search store: note an expiry: %w", err)
	}
	return nil
}

// Expired returns collections, at most limit, with documents that have ended and
// are still there.
func (s *Store) Expired(ctx context.Context, limit int) ([]Collection, error) {
	return s.collections(ctx, `WHERE expires <> 0 AND uid IN
		(SELECT d.collection FROM search_documents d WHERE d.expire_time > 0 AND d.expire_time <= $1) LIMIT $2`, s.now(), limit)
}

// errNothing undoes a removal that finds nothing to remove.
var errNothing = errors.New("nothing has ended")

// RemoveExpired removes at most limit documents of the collection that have
// ended, as one change, and returns how many. Processes that do it side by side
// take turns.
func (s *Store) RemoveExpired(ctx context.Context, c Collection, limit int) (removed int, err error) {
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		next, err := advance(ctx, tx, c.UID, 1, s.now())
		if errors.Is(err, sql.ErrNoRows) {
			return errNothing // the collection is gone
		}
		if err != nil {
			return err
		}
		ended, err := s.ended(ctx, tx, c, limit)
		if err != nil {
			return err
		}
		if removed = len(ended); removed == 0 {
			return errNothing
		}
		again := newStatements(tx)
		defer func() { err = errors.Join(err, again.close()) }()
		var sum counts
		for _, d := range ended {
			if err := removeVersion(ctx, again, c.UID, d.ID, d.No, next); err != nil {
				return err
			}
			sum.documents, sum.chunks = sum.documents-1, sum.chunks-d.ChunkCount
		}
		return count(ctx, tx, c.UID, sum)
	})
	if errors.Is(err, errNothing) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("search store: remove what has ended: %w", err)
	}
	return removed, nil
}

func (s *Store) ended(ctx context.Context, tx *sql.Tx, c Collection, limit int) (out []Document, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, no, chunk_count FROM search_documents
		WHERE collection = $1 AND expire_time > 0 AND expire_time <= $2 ORDER BY expire_time LIMIT $3`, c.UID, s.now(), limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d Document
		if err := rows.Scan(&d.ID, &d.No, &d.ChunkCount); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}
