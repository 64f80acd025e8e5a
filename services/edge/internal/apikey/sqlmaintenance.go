package apikey

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// usesAtOnce bounds the rows of one statement.
const usesAtOnce = 500

// Used notes when keys were last used, in the order of their ids, so that
// replicas that do so at once wait for each other and never in a circle.
func (s *SQLStore) Used(ctx context.Context, uses map[string]time.Time) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for ids := range slices.Chunk(slices.Sorted(maps.Keys(uses)), usesAtOnce) {
			args := make([]any, 0, 2*len(ids))
			for _, id := range ids {
				args = append(args, id, sqldb.Micros(uses[id]))
			}
			if _, err := tx.ExecContext(ctx, noteUses(len(ids)), args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("apikey: note the last uses: %w", err)
	}
	return nil
}

// noteUses is the statement for n keys.
func noteUses(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = "($" + strconv.Itoa(2*i+1) + ", $" + strconv.Itoa(2*i+2) + ")"
	}
	return `INSERT INTO edge_api_key_uses (id, last_time) VALUES ` + strings.Join(rows, ", ") + `
		ON CONFLICT (id) DO UPDATE SET last_time = excluded.last_time
		WHERE excluded.last_time > edge_api_key_uses.last_time`
}

func scanText(from row) (string, error) {
	var out string
	err := from.Scan(&out)
	return out, err
}

// Rehash replaces a hash. It is no change that replicas follow: those that know
// the old hash accept the same secret.
func (s *SQLStore) Rehash(ctx context.Context, id string, from, to Hash) (bool, error) {
	var n int64
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		for _, query := range []string{
			`UPDATE edge_api_keys SET hash = $1, pepper = $2 WHERE id = $3 AND hash = $4`,
			`UPDATE edge_api_keys SET previous_hash = $1, previous_pepper = $2 WHERE id = $3 AND previous_hash = $4`,
		} {
			res, err := tx.ExecContext(ctx, query, to.Sum, to.Pepper, id, from.Sum)
			if err != nil {
				return err
			}
			changed, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += changed
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("apikey: hash a key anew: %w", err)
	}
	return n > 0, nil
}

// Claim notes a pepper.
func (s *SQLStore) Claim(ctx context.Context, pepper string, known []string, t time.Time) ([]string, error) {
	var there []string
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		// The row that every change locks: two first starts come one after the other.
		if _, err = tx.ExecContext(ctx, `UPDATE edge_api_keys_revision SET revision = revision WHERE one = 1`); err != nil {
			return err
		}
		there, err = list(ctx, tx, scanText, `SELECT check_value FROM edge_api_key_peppers ORDER BY create_time, check_value`)
		if err != nil || slices.Contains(there, pepper) {
			return err
		}
		if len(there) > 0 && !slices.ContainsFunc(known, func(k string) bool { return slices.Contains(there, k) }) {
			return nil
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_api_key_peppers (check_value, create_time) VALUES ($1, $2)`, pepper, sqldb.Micros(t))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("apikey: compare the pepper with the store's: %w", err)
	}
	return there, nil
}
