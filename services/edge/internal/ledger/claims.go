package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// ErrClaimed says that a request was made before; ErrInHand that it is being
// answered.
var (
	ErrClaimed = errors.New("ledger: the request was made before")
	ErrInHand  = errors.New("ledger: the request is in hand")
)

// claimsForgotten bounds the old claims that are deleted at once.
const claimsForgotten = 100

// Claim has entry be the only one of a claim until expire. ErrInHand or ErrClaimed
// says that another one is.
func (s *SQLStore) Claim(ctx context.Context, claim, entry string, now, expire time.Time) error {
	var taken error
	err := s.turn(ctx, "claim", func(ctx context.Context, tx *sql.Tx) error {
		taken = nil
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_usage_claims WHERE claim IN (
			SELECT claim FROM edge_usage_claims WHERE expire_time <= $1 LIMIT $2)`, sqldb.Micros(now), claimsForgotten); err != nil {
			return err
		}
		var done int
		err := tx.QueryRowContext(ctx, `SELECT done FROM edge_usage_claims WHERE claim = $1 AND expire_time > $2`, claim, sqldb.Micros(now)).Scan(&done)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case done != 0:
			taken = ErrClaimed
			return nil
		default:
			taken = ErrInHand
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_usage_claims (claim, entry, done, expire_time) VALUES ($1, $2, 0, $3)
			ON CONFLICT (claim) DO UPDATE SET entry = excluded.entry, done = 0, expire_time = excluded.expire_time`, claim, entry, sqldb.Micros(expire))
		return err
	})
	if err != nil {
		return err
	}
	return taken
}

// Unclaim lets a request be made again that used nothing.
func (s *SQLStore) Unclaim(ctx context.Context, entry string) error {
	return s.turn(ctx, "give up a claim", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_usage_claims WHERE entry = $1 AND done = 0`, entry)
		return err
	})
}

// endClaims has the claims of entries last.
func endClaims(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	for _, e := range entries {
		if !e.Claimed {
			continue
		}
		if _, err := tx.ExecContext(ctx, `UPDATE edge_usage_claims SET done = 1, expire_time = $1 WHERE entry = $2`,
			sqldb.Micros(e.Time.Add(claimKept)), e.ID); err != nil {
			return err
		}
	}
	return nil
}
