package issue

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// keyRow is what is kept of a key.
type keyRow struct {
	id, public, private         string
	created, from, until, shown time.Time // signs from, until; shown: published until
}

// keyStore keeps keys in SQLite or PostgreSQL. It is safe for concurrent use.
type keyStore struct{ db *sqldb.DB }

const keyColumns = `id, public_key, private_key, create_time, sign_from, sign_until, publish_until`

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// published returns the keys that are published at that time, by when they sign.
func (s keyStore) published(ctx context.Context, now time.Time) ([]keyRow, error) {
	return readKeys(ctx, s.db.Reader(), now)
}

func readKeys(ctx context.Context, q querier, now time.Time) (out []keyRow, err error) {
	rows, err := q.QueryContext(ctx, `SELECT `+keyColumns+` FROM edge_token_keys WHERE publish_until > $1 ORDER BY sign_from, id`, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("tokens: read the keys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r keyRow
		var times [4]int64
		if err := rows.Scan(&r.id, &r.public, &r.private, &times[0], &times[1], &times[2], &times[3]); err != nil {
			return nil, fmt.Errorf("tokens: read the keys: %w", err)
		}
		for i, into := range []*time.Time{&r.created, &r.from, &r.until, &r.shown} {
			*into = time.UnixMicro(times[i])
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// add adds the key that next returns of those that are there, if any; replicas
// that do so at once add one.
func (s keyStore) add(ctx context.Context, now time.Time, next func([]keyRow) (keyRow, bool, error)) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := readKeys(ctx, tx, now)
		if err != nil {
			return err
		}
		r, needed, err := next(rows)
		if err != nil || !needed {
			return err
		}
		// Nothing that they signed holds any more.
		if _, err := tx.ExecContext(ctx, `DELETE FROM edge_token_keys WHERE publish_until <= $1`, now.UnixMicro()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_token_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			r.id, r.public, r.private, r.created.UnixMicro(), r.from.UnixMicro(), r.until.UnixMicro(), r.shown.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("tokens: make a key: %w", err)
	}
	return nil
}
