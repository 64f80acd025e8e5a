package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Standing is how a budget stands in a period: what is settled, and what all edges
// hold of it.
type Standing struct{ Settled, Held int64 }

// Ask is what an edge wants of a budget.
type Ask struct {
	Period
	// Limit is the budget's.
	Limit int64
	// Held is what the holder has of it, as it knows itself.
	Held int64
	// Need is what it needs now, and Extra what it would like besides.
	Need, Extra int64
}

// Acquire takes of a budget for a holder until expire: what is needed and some of
// what is wanted, or nothing when not even what is needed is left. What others hold
// counts until it expires.
func (s *SQLStore) Acquire(ctx context.Context, holder string, a Ask, now, expire time.Time) (granted int64, st Standing, err error) {
	err = s.turn(ctx, "take of a budget", func(ctx context.Context, tx *sql.Tx) error {
		granted = 0
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_budget_leases WHERE budget = $1 AND period = $2 AND holder <> $3 AND expire_time <= $4`,
			a.Budget, a.Start, holder, sqldb.Micros(now)); err != nil {
			return err
		}
		var err error
		if st, err = standing(ctx, tx, a.Period, holder); err != nil {
			return err
		}
		left := a.Limit - st.Settled - st.Held - max(a.Held, 0)
		if left >= a.Need {
			granted = a.Need + min(a.Extra, (left-a.Need)/shareOfRest)
		}
		st.Held += a.Held + granted
		return setLease(ctx, tx, holder, a.Period, a.Held+granted, expire)
	})
	return granted, st, err
}

// shareOfRest is the part of what is left that an edge may take in advance.
const shareOfRest = 8

// standing is without what holder holds.
func standing(ctx context.Context, tx *sql.Tx, p Period, holder string) (Standing, error) {
	var st Standing
	err := tx.QueryRowContext(ctx, `SELECT settled FROM edge_budget_counters WHERE budget = $1 AND period = $2`, p.Budget, p.Start).Scan(&st.Settled)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, err
	}
	err = tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(CASE WHEN held > 0 THEN held ELSE 0 END), 0) AS BIGINT) FROM edge_budget_leases
		WHERE budget = $1 AND period = $2 AND holder <> $3`, p.Budget, p.Start, holder).Scan(&st.Held)
	return st, err
}

func setLease(ctx context.Context, tx *sql.Tx, holder string, p Period, held int64, expire time.Time) error {
	if held == 0 {
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_budget_leases WHERE budget = $1 AND period = $2 AND holder = $3`, p.Budget, p.Start, holder)
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_budget_leases (budget, period, holder, held, expire_time) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (budget, period, holder) DO UPDATE SET held = excluded.held, expire_time = excluded.expire_time`,
		p.Budget, p.Start, holder, held, sqldb.Micros(expire))
	return err
}

// Renew sets what a holder holds, and returns how the budgets stand, in the same
// order.
func (s *SQLStore) Renew(ctx context.Context, holder string, held []Ask, now, expire time.Time) ([]Standing, error) {
	out := make([]Standing, len(held))
	err := s.turn(ctx, "renew", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_budget_leases WHERE holder <> $1 AND expire_time <= $2`, holder, sqldb.Micros(now)); err != nil {
			return err
		}
		for i, a := range held {
			var err error
			if out[i], err = standing(ctx, tx, a.Period, holder); err != nil {
				return err
			}
			out[i].Held += a.Held
			if err := setLease(ctx, tx, holder, a.Period, a.Held, expire); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// Release gives back everything that a holder holds.
func (s *SQLStore) Release(ctx context.Context, holder string) error {
	return s.turn(ctx, "give back", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_budget_leases WHERE holder = $1`, holder)
		return err
	})
}

// Standings returns how budgets stand at a time, in the same order.
func (s *SQLStore) Standings(ctx context.Context, periods []Period, now time.Time) ([]Standing, error) {
	out := make([]Standing, len(periods))
	err := s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, p := range periods {
			err := tx.QueryRowContext(ctx, `SELECT
				COALESCE((SELECT settled FROM edge_budget_counters WHERE budget = $1 AND period = $2), 0),
				CAST(COALESCE((SELECT SUM(CASE WHEN held > 0 THEN held ELSE 0 END) FROM edge_budget_leases WHERE budget = $1 AND period = $2 AND expire_time > $3), 0) AS BIGINT)`,
				p.Budget, p.Start, sqldb.Micros(now)).Scan(&out[i].Settled, &out[i].Held)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}
