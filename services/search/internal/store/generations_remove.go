package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// RemoveEmbeddingGeneration has one removed that does not serve, in the
// background by Sweep.
func (s *Store) RemoveEmbeddingGeneration(ctx context.Context, c Collection, number int) error {
	return told("remove an embedding generation", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		serving, err := lockCollection(ctx, tx, c)
		if err != nil {
			return err
		}
		if serving == number {
			return apierr.New(apierr.FailedPrecondition, "embedding generation %d serves: have another serve first", number)
		}
		res, err := tx.ExecContext(ctx, `UPDATE search_embedding_generations SET state = 'removing', reason = '', lease_token = lease_token + 1
			WHERE collection = $1 AND number = $2`, c.UID, number)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, noEmbeddingGeneration(number))
		}
		return nil
	}))
}

// RetireBefore has the retired embedding generations removed that were retired
// before then.
func (s *Store) RetireBefore(ctx context.Context, then time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE search_embedding_generations SET state = 'removing', lease_token = lease_token + 1
		WHERE state = 'retired' AND retire_time < $1`, then.UnixNano())
	if err != nil {
		return fmt.Errorf("search store: remove retired embedding generations: %w", err)
	}
	return nil
}

// sweepRows is how many passages are removed at once: writers wait no longer.
const sweepRows = 500

// Sweep removes passages of embedding generations that are being removed, some
// at a time, and reports whether there may be more.
func (s *Store) Sweep(ctx context.Context) (more bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		more = false
		var uid string
		var number int
		err := tx.QueryRowContext(ctx, `SELECT collection, number FROM search_embedding_generations
			WHERE state = 'removing' ORDER BY collection, number LIMIT 1`).Scan(&uid, &number)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		res, err := tx.ExecContext(ctx, `DELETE FROM search_chunks WHERE collection = $1 AND embedding_generation = $2 AND (no, number) IN (
			SELECT no, number FROM search_chunks WHERE collection = $1 AND embedding_generation = $2 LIMIT $3)`, uid, number, sweepRows)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == sweepRows {
			return err
		}
		for _, query := range []string{
			`DELETE FROM search_embedding_failures WHERE collection = $1 AND embedding_generation = $2`,
			`DELETE FROM search_followers WHERE collection = $1 AND embedding_generation = $2`,
			`DELETE FROM search_embedding_generations WHERE collection = $1 AND number = $2 AND state = 'removing'`,
		} {
			if _, err := tx.ExecContext(ctx, query, uid, number); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("search store: remove an embedding generation: %w", err)
	}
	return more, nil
}
