package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// ErrClaimed says that a request was made before; ErrInHand that it is being
// answered.
var (
	ErrClaimed = errors.New("ledger: the request was made before")
	ErrInHand  = errors.New("ledger: the request is in hand")
)

// claimsForgotten bounds the old claims that are deleted for each that ends.
const claimsForgotten = 100

// claimAgain bounds how often a claim is looked for that somebody gives up meanwhile.
const claimAgain = 3

// Claim has entry be the only one of a claim until expire. ErrInHand or ErrClaimed
// says that another one is. After another error the claim may be entry's: Unclaim it.
//
// Its rivals are those of the same claim only, and the claim's own row is what they
// take turns by. It does not queue for the ledger's turn: on a busy database that
// would have it wait for the batches of every edge.
func (s *SQLStore) Claim(ctx context.Context, claim, entry string, now, expire time.Time) error {
	var taken error
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		for range claimAgain {
			if taken, err = claimRow(ctx, tx, claim, entry, sqldb.Micros(now), sqldb.Micros(expire)); !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		taken = ErrInHand // given up and made again each time: somebody has it
		return nil
	})
	if err != nil {
		return fmt.Errorf("ledger: claim: %w", err)
	}
	return taken
}

// claimRow returns sql.ErrNoRows where the claim was another's, and is nobody's now.
func claimRow(ctx context.Context, tx *sql.Tx, claim, entry string, now, expire int64) (taken, err error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO edge_usage_claims AS c (claim, entry, done, expire_time) VALUES ($1, $2, 0, $3)
		ON CONFLICT (claim) DO UPDATE SET entry = excluded.entry, done = 0, expire_time = excluded.expire_time WHERE c.expire_time <= $4`,
		claim, entry, expire, now)
	if err != nil {
		return nil, err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return nil, err
	}
	var done int
	if err := tx.QueryRowContext(ctx, `SELECT done FROM edge_usage_claims WHERE claim = $1`, claim).Scan(&done); err != nil {
		return nil, err
	}
	if done != 0 {
		return ErrClaimed, nil
	}
	return ErrInHand, nil
}

// Unclaim lets a request be made again that used nothing. As Claim it waits for nobody
// but who has the same claim.
func (s *SQLStore) Unclaim(ctx context.Context, entry string) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_usage_claims WHERE entry = $1 AND done = 0`, entry)
		return err
	})
	if err != nil {
		return fmt.Errorf("ledger: give up a claim: %w", err)
	}
	return nil
}

// endClaims has the claims of entries last, and forgets old ones.
func endClaims(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	ended := 0
	var last time.Time
	for _, e := range entries {
		if !e.Claimed {
			continue
		}
		if ended++; e.Time.After(last) {
			last = e.Time
		}
		if _, err := tx.ExecContext(ctx, `UPDATE edge_usage_claims SET done = 1, expire_time = $1 WHERE entry = $2`,
			sqldb.Micros(e.Time.Add(claimKept)), e.ID); err != nil {
			return err
		}
	}
	if ended == 0 {
		return nil
	}
	// Told twice when they expire: one that is claimed anew meanwhile is looked at again.
	_, err := tx.ExecContext(ctx, `DELETE FROM edge_usage_claims WHERE expire_time <= $1 AND claim IN (
		SELECT claim FROM edge_usage_claims WHERE expire_time <= $1 LIMIT $2)`, sqldb.Micros(last), ended*claimsForgotten)
	return err
}
