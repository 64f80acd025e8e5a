package session

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

const columns = `id, hash, issuer, provider_subject, provider_session, tenant, subject, roles, member_of, agent, address,
	create_time, last_use_time, expire_time, end_time, revision`

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// change runs fn with the revision of its change, after all changes before it.
func (s *SQLStore) change(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	return s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx,
			`UPDATE edge_sessions_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return fmt.Errorf("take a revision: %w", err)
		}
		return fn(ctx, tx, revision)
	})
}

// Create adds a session, and ends those of the subject that are too many.
func (s *SQLStore) Create(ctx context.Context, r Record, most int) (Record, error) {
	roles, err := json.Marshal(nonNil(r.Roles))
	if err != nil {
		return Record{}, err
	}
	groups, err := json.Marshal(nonNil(r.Groups))
	if err != nil {
		return Record{}, err
	}
	err = s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		r.Revision = revision
		_, err := tx.ExecContext(ctx, `UPDATE edge_sessions SET end_time = $1, revision = $2 WHERE id IN (
			SELECT id FROM edge_sessions WHERE tenant = $3 AND subject = $4 AND end_time = 0 AND expire_time > $1
			ORDER BY last_use_time DESC, id DESC LIMIT $5 OFFSET $6)`,
			sqldb.Micros(r.CreateTime), revision, r.Tenant, r.Subject, 1<<30, most-1)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_sessions (`+columns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			r.ID, r.Hash, r.Issuer, r.Provider.Subject, r.Provider.Session, r.Tenant, r.Subject, string(roles), string(groups), r.Agent, r.Address,
			sqldb.Micros(r.CreateTime), sqldb.Micros(r.LastUseTime), sqldb.Micros(r.ExpireTime), sqldb.Micros(r.EndTime), r.Revision)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("session: create: %w", err)
	}
	return r, nil
}

// Get returns the session of that hash.
func (s *SQLStore) Get(ctx context.Context, hash string) (Record, error) {
	return one(s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+` FROM edge_sessions WHERE hash = $1`, hash))
}

// Find returns a session by its id.
func (s *SQLStore) Find(ctx context.Context, id string) (Record, error) {
	return one(s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+` FROM edge_sessions WHERE id = $1`, id))
}

func one(row *sql.Row) (Record, error) {
	r, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("session: get: %w", err)
	}
	return r, nil
}

// List returns sessions by id.
func (s *SQLStore) List(ctx context.Context, f Filter) ([]Record, error) {
	query := `SELECT ` + columns + ` FROM edge_sessions WHERE id > $1 AND end_time = 0 AND expire_time > $2 AND last_use_time > $3`
	args := []any{f.After, sqldb.Micros(f.Now), sqldb.Micros(f.Now.Add(-f.Idle))}
	if f.Tenant != "" {
		args = append(args, f.Tenant)
		query += fmt.Sprintf(` AND tenant = $%d`, len(args))
	}
	if f.Subject != "" {
		args = append(args, f.Subject)
		query += fmt.Sprintf(` AND subject = $%d`, len(args))
	}
	args = append(args, f.Limit)
	return s.query(ctx, query+fmt.Sprintf(` ORDER BY id LIMIT $%d`, len(args)), args...)
}

// Touch notes when sessions were used.
func (s *SQLStore) Touch(ctx context.Context, used map[string]time.Time) error {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		for hash, t := range used {
			_, err := tx.ExecContext(ctx, `UPDATE edge_sessions SET last_use_time = $1, revision = $2
				WHERE hash = $3 AND end_time = 0 AND last_use_time < $1`, sqldb.Micros(t), revision, hash)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("session: note the use: %w", err)
	}
	return nil
}

// End ends a session.
func (s *SQLStore) End(ctx context.Context, id string, t time.Time) (Record, error) {
	var out Record
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		_, err := tx.ExecContext(ctx, `UPDATE edge_sessions SET end_time = $1, revision = $2
			WHERE id = $3 AND end_time = 0`, sqldb.Micros(t), revision, id)
		if err != nil {
			return err
		}
		out, err = one(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM edge_sessions WHERE id = $1`, id))
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("session: end: %w", err)
	}
	return out, nil
}

// EndAll ends a subject's sessions.
func (s *SQLStore) EndAll(ctx context.Context, tenant, subject, except string, t time.Time) (int, error) {
	var ended int64
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		result, err := tx.ExecContext(ctx, `UPDATE edge_sessions SET end_time = $1, revision = $2
			WHERE tenant = $3 AND subject = $4 AND id <> $5 AND end_time = 0 AND expire_time > $1`, sqldb.Micros(t), revision, tenant, subject, except)
		if err != nil {
			return err
		}
		ended, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("session: end all: %w", err)
	}
	return int(ended), nil
}

// Prune deletes old sessions. It is no change: nobody remembers them as holding.
func (s *SQLStore) Prune(ctx context.Context, t, idle time.Time) (int64, error) {
	// They are refused by their time a skew later at most, long before t.
	if _, err := s.db.ExecContext(ctx, `DELETE FROM edge_logout_tokens WHERE refuse_until < $1`, sqldb.Micros(t)); err != nil {
		return 0, fmt.Errorf("session: forget old logout tokens: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `DELETE FROM edge_sessions WHERE expire_time < $1 OR (end_time > 0 AND end_time < $1) OR last_use_time < $2`,
		sqldb.Micros(t), sqldb.Micros(idle))
	if err != nil {
		return 0, fmt.Errorf("session: delete old ones: %w", err)
	}
	return result.RowsAffected()
}

// Revision returns the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_sessions_revision WHERE one = 1`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("session: read the revision: %w", err)
	}
	return revision, nil
}

// Changes returns sessions that changed after a revision. One change may be to many
// sessions, so that more than limit may be returned: a revision is never cut.
func (s *SQLStore) Changes(ctx context.Context, after int64, limit int) ([]Record, error) {
	return s.query(ctx, `SELECT `+columns+` FROM edge_sessions WHERE revision > $1 AND revision <= COALESCE(
		(SELECT revision FROM edge_sessions WHERE revision > $1 ORDER BY revision LIMIT 1 OFFSET $2), $3) ORDER BY revision`,
		after, limit-1, int64(1)<<62)
}

func (s *SQLStore) query(ctx context.Context, query string, args ...any) (out []Record, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("session: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("session: list: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("session: list: %w", err)
	}
	return out, nil
}

func scan(row interface{ Scan(dest ...any) error }) (Record, error) {
	var (
		r                          Record
		roles, groups              string
		created, used, expire, end int64
	)
	err := row.Scan(&r.ID, &r.Hash, &r.Issuer, &r.Provider.Subject, &r.Provider.Session, &r.Tenant, &r.Subject, &roles, &groups, &r.Agent, &r.Address,
		&created, &used, &expire, &end, &r.Revision)
	if err != nil {
		return Record{}, err
	}
	if err := json.Unmarshal([]byte(roles), &r.Roles); err != nil {
		return Record{}, fmt.Errorf("the roles of session %s: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(groups), &r.Groups); err != nil {
		return Record{}, fmt.Errorf("the groups of session %s: %w", r.ID, err)
	}
	r.CreateTime, r.LastUseTime, r.ExpireTime, r.EndTime = sqldb.FromMicros(created), sqldb.FromMicros(used), sqldb.FromMicros(expire), sqldb.FromMicros(end)
	return r, nil
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
