package conversation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// Close implements Store.
func (s *SQLStore) Close() error { return nil }

const columns = `id, version, create_time, update_time, expire_time, turns, summarized`

func scan(row interface{ Scan(dest ...any) error }, more ...any) (Record, error) {
	var r Record
	var created, updated, expires int64
	err := row.Scan(append([]any{&r.ID, &r.Version, &created, &updated, &expires, &r.Turns, &r.Summarized}, more...)...)
	r.CreateTime, r.UpdateTime, r.ExpireTime = sqldb.FromMicros(created), sqldb.FromMicros(updated), sqldb.FromMicros(expires)
	return r, err
}

// Read implements Store.
func (s *SQLStore) Read(ctx context.Context, o Owner, id string, now time.Time) (Record, error) {
	var body string
	r, err := scan(s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+`, body FROM edge_conversations
		WHERE tenant = $1 AND subject = $2 AND id = $3 AND expire_time > $4`, o.Tenant, o.Subject, id, sqldb.Micros(now)), &body)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("conversation: read: %w", err)
	}
	r.Body = body
	return r, nil
}

// Write implements Store.
func (s *SQLStore) Write(ctx context.Context, o Owner, r Record, before int64, most int) error {
	if before != 0 {
		n, err := s.exec(ctx, `UPDATE edge_conversations SET version = $1, update_time = $2, expire_time = $3, turns = $4, summarized = $5, body = $6
			WHERE tenant = $7 AND subject = $8 AND id = $9 AND version = $10`, r.Version, sqldb.Micros(r.UpdateTime), sqldb.Micros(r.ExpireTime),
			r.Turns, r.Summarized, r.Body, o.Tenant, o.Subject, r.ID, before)
		if err == nil && n == 0 {
			return ErrConflict
		}
		return err
	}
	// One that has expired and was not purged yet is none.
	n, err := s.exec(ctx, `INSERT INTO edge_conversations (tenant, subject, `+columns+`, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant, subject, id) DO UPDATE SET version = excluded.version,
		create_time = excluded.create_time, update_time = excluded.update_time, expire_time = excluded.expire_time, turns = excluded.turns,
		summarized = excluded.summarized, body = excluded.body WHERE edge_conversations.expire_time <= excluded.create_time`,
		o.Tenant, o.Subject, r.ID, r.Version, sqldb.Micros(r.CreateTime), sqldb.Micros(r.UpdateTime), sqldb.Micros(r.ExpireTime), r.Turns, r.Summarized, r.Body)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrConflict
	}
	_, err = s.exec(ctx, `DELETE FROM edge_conversations WHERE tenant = $1 AND subject = $2 AND update_time < (
		SELECT update_time FROM edge_conversations WHERE tenant = $1 AND subject = $2 ORDER BY update_time DESC LIMIT 1 OFFSET $3)`,
		o.Tenant, o.Subject, most-1)
	return err
}

// List implements Store.
func (s *SQLStore) List(ctx context.Context, o Owner, after string, limit int, now time.Time) ([]Record, error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+columns+` FROM edge_conversations
		WHERE tenant = $1 AND subject = $2 AND id > $3 AND expire_time > $4 ORDER BY id LIMIT $5`, o.Tenant, o.Subject, after, sqldb.Micros(now), limit)
	if err != nil {
		return nil, fmt.Errorf("conversation: list: %w", err)
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("conversation: list: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("conversation: list: %w", err)
	}
	return out, nil
}

// Delete implements Store.
func (s *SQLStore) Delete(ctx context.Context, o Owner, id string, now time.Time) error {
	n, err := s.exec(ctx, `DELETE FROM edge_conversations WHERE tenant = $1 AND subject = $2 AND id = $3 AND expire_time > $4`,
		o.Tenant, o.Subject, id, sqldb.Micros(now))
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// DeleteAll implements Store.
func (s *SQLStore) DeleteAll(ctx context.Context, tenant, subject string) (int, error) {
	query, args := `DELETE FROM edge_conversations WHERE tenant = $1`, []any{tenant}
	if subject != "" {
		query, args = query+` AND subject = $2`, append(args, subject)
	}
	return s.exec(ctx, query, args...)
}

// Purge implements Store.
func (s *SQLStore) Purge(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.exec(ctx, `DELETE FROM edge_conversations WHERE (tenant, subject, id) IN (
		SELECT tenant, subject, id FROM edge_conversations WHERE expire_time <= $1 ORDER BY expire_time LIMIT $2)`, sqldb.Micros(now), limit)
}

func (s *SQLStore) exec(ctx context.Context, query string, args ...any) (int, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("conversation: write: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("conversation: write: %w", err)
	}
	return int(n), nil
}
