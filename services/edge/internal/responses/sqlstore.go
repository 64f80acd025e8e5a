package responses

import (
	"context"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// Put implements Store. Two statements and no transaction: a turn too many until the
// next is kept hurts nobody, and many turns at once must not wait for each other.
func (s *SQLStore) Put(ctx context.Context, t Turn, most int) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO edge_responses (id, tenant, subject, previous, create_time, expire_time, input, response)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, t.ID, t.Owner.Tenant, t.Owner.Subject, t.Previous,
		sqldb.Micros(t.CreateTime), sqldb.Micros(t.ExpireTime), t.Input, t.Response)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `DELETE FROM edge_responses WHERE tenant = $1 AND subject = $2 AND create_time < (
			SELECT create_time FROM edge_responses WHERE tenant = $1 AND subject = $2 ORDER BY create_time DESC LIMIT 1 OFFSET $3)`,
			t.Owner.Tenant, t.Owner.Subject, most-1)
	}
	if err != nil {
		return fmt.Errorf("responses: keep: %w", err)
	}
	return nil
}

// Chain implements Store.
func (s *SQLStore) Chain(ctx context.Context, o Owner, id string, now time.Time, limit int) ([]Turn, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `WITH RECURSIVE chain (id, previous, create_time, expire_time, input, response, depth) AS (
			SELECT id, previous, create_time, expire_time, input, response, 1 FROM edge_responses
			WHERE id = $1 AND tenant = $2 AND subject = $3 AND expire_time > $4
		UNION ALL
			SELECT r.id, r.previous, r.create_time, r.expire_time, r.input, r.response, c.depth + 1
			FROM chain c JOIN edge_responses r ON r.id = c.previous
			WHERE c.depth < $5 AND r.tenant = $2 AND r.subject = $3 AND r.expire_time > $4)
		SELECT id, previous, create_time, expire_time, input, response FROM chain ORDER BY depth DESC`,
		id, o.Tenant, o.Subject, sqldb.Micros(now), limit)
	if err != nil {
		return nil, fmt.Errorf("responses: read: %w", err)
	}
	defer rows.Close()
	var out []Turn
	for rows.Next() {
		t := Turn{Owner: o}
		var created, expires int64
		if err := rows.Scan(&t.ID, &t.Previous, &created, &expires, &t.Input, &t.Response); err != nil {
			return nil, fmt.Errorf("responses: read: %w", err)
		}
		t.CreateTime, t.ExpireTime = sqldb.FromMicros(created), sqldb.FromMicros(expires)
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("responses: read: %w", err)
	}
	switch {
	case len(out) == 0:
		return nil, ErrNotFound
	case out[0].Previous == "":
		return out, nil
	case len(out) == limit:
		return out, ErrTooLong
	default:
		return out, ErrBroken
	}
}

// Delete implements Store.
func (s *SQLStore) Delete(ctx context.Context, o Owner, id string, now time.Time) error {
	n, err := s.delete(ctx, `DELETE FROM edge_responses WHERE id = $1 AND tenant = $2 AND subject = $3 AND expire_time > $4`,
		id, o.Tenant, o.Subject, sqldb.Micros(now))
	if err != nil {
		return fmt.Errorf("responses: forget: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

func (s *SQLStore) delete(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Purge implements Store.
func (s *SQLStore) Purge(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := s.delete(ctx, `DELETE FROM edge_responses WHERE id IN (
		SELECT id FROM edge_responses WHERE expire_time <= $1 ORDER BY expire_time LIMIT $2)`, sqldb.Micros(now), limit)
	if err != nil {
		return 0, fmt.Errorf("responses: purge: %w", err)
	}
	return int(n), nil
}
