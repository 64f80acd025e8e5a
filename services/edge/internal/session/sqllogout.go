package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/sqldb"
)

// EndAtProvider ends what a provider says has ended. That the token is used, and what
// it ends, is one change.
func (s *SQLStore) EndAtProvider(ctx context.Context, l ProviderLogout) ([]Record, error) {
	var ended []Record
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) (err error) {
		result, err := tx.ExecContext(ctx, `INSERT INTO edge_logout_tokens (id, refuse_until) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
			l.Token, sqldb.Micros(l.Until))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrUsed)
		}
		// Where a name is empty, the other alone says which.
		rows, err := tx.QueryContext(ctx, `UPDATE edge_sessions SET end_time = $1, revision = $2
			WHERE issuer = $3 AND end_time = 0 AND expire_time > $1
			AND ($4 = '' AND $5 <> '' AND provider_session = $5 OR $4 <> '' AND provider_subject = $4 AND ($5 = '' OR provider_session IN ($5, '')))
			RETURNING `+columns, sqldb.Micros(l.Time), revision, l.Issuer, l.At.Subject, l.At.Session)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			ended = append(ended, r)
		}
		return rows.Err()
	})
	if errors.Is(err, ErrUsed) {
		return nil, ErrUsed
	}
	if err != nil {
		return nil, fmt.Errorf("session: end what the provider has ended: %w", err)
	}
	return ended, nil
}
