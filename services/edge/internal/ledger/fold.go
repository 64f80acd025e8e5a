package ledger

import (
	"context"
	"database/sql"
	"time"
)

// foldAtOnce is how many entries one turn folds: few enough that what waits to be
// written does not wait for long.
const foldAtOnce = 500

// oldest are the entries that a turn folds. Whoever writes entries takes turns, too,
// so that they are the same for each statement of one.
const oldest = `(SELECT id FROM edge_usage WHERE time_us < $1 ORDER BY time_us, id LIMIT $2)`

// Fold forgets single entries of days (UTC) that had ended at before. The sums by hour
// and day stay as they are, and what counted against a budget becomes one charge for
// each of its periods. It returns how many entries it folded; there may be more as
// long as that is not 0.
func (s *SQLStore) Fold(ctx context.Context, before time.Time) (int, error) {
	cut := before.UnixMicro()
	cut -= cut % dayMicros
	var folded int64
	err := s.turn(ctx, "fold", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_usage_turn SET kept_from = $1 WHERE one = 1 AND kept_from < $1`, cut); err != nil {
			return err
		}
		for _, statement := range []string{
			`INSERT INTO edge_usage_charges (entry, budget, period, amount)
				SELECT 'folded/' || CAST(period AS TEXT), budget, period, CAST(SUM(amount) AS BIGINT) FROM edge_usage_charges WHERE entry IN ` + oldest + `
				GROUP BY budget, period
				ON CONFLICT (entry, budget) DO UPDATE SET amount = edge_usage_charges.amount + excluded.amount`,
			`DELETE FROM edge_usage_charges WHERE entry IN ` + oldest,
			`DELETE FROM edge_usage WHERE id IN ` + oldest,
		} {
			result, err := tx.ExecContext(ctx, statement, cut, foldAtOnce)
			if err != nil {
				return err
			}
			if folded, err = result.RowsAffected(); err != nil {
				return err
			}
		}
		return nil
	})
	return int(folded), err
}

// keptFrom is the first day of which every entry is there.
func keptFrom(ctx context.Context, tx *sql.Tx) (day int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT kept_from FROM edge_usage_turn WHERE one = 1`).Scan(&day)
	return day, err
}
