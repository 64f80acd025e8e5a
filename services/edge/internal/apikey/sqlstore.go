package apikey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

const columns = `id, name, tenant, subject, roles, member_of, hash,
	create_time, expire_time, revoke_time, requests_per_minute, revision`

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// Create adds a key.
func (s *SQLStore) Create(ctx context.Context, r Record) (Record, error) {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		r.Revision = revision
		return insert(ctx, tx, r)
	})
	if sqldb.IsUnique(err) {
		return Record{}, ErrExists
	}
	if err != nil {
		return Record{}, fmt.Errorf("apikey: create: %w", err)
	}
	return r, nil
}

// CreateFirst adds a key if there has never been one.
func (s *SQLStore) CreateFirst(ctx context.Context, r Record, before func() error) (bool, error) {
	if revision, err := s.Revision(ctx); err != nil || revision > 0 {
		return false, err
	}
	created := false
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		// Revisions are never given back, so the first one says that no key was
		// ever there.
		if created = revision == 1; !created {
			return errNotFirst
		}
		if err := before(); err != nil {
			return err
		}
		r.Revision = revision
		return insert(ctx, tx, r)
	})
	if errors.Is(err, errNotFirst) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("apikey: create the first key: %w", err)
	}
	return created, nil
}

var errNotFirst = errors.New("apikey: there was a key before")

// change runs fn with the revision of its change, after all changes before it.
func (s *SQLStore) change(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	return s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx,
			`UPDATE edge_api_keys_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return fmt.Errorf("take a revision: %w", err)
		}
		return fn(ctx, tx, revision)
	})
}

func insert(ctx context.Context, tx *sql.Tx, r Record) error {
	roles, err := json.Marshal(nonNil(r.Roles))
	if err != nil {
		return err
	}
	groups, err := json.Marshal(nonNil(r.Groups))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO edge_api_keys (`+columns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		r.ID, r.Name, r.Tenant, r.Subject, string(roles), string(groups), r.Hash,
		micros(r.CreateTime), micros(r.ExpireTime), micros(r.RevokeTime), r.RequestsPerMinute, r.Revision)
	return err
}

// Get returns a key.
func (s *SQLStore) Get(ctx context.Context, id string) (Record, error) {
	row := s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+` FROM edge_api_keys WHERE id = $1`, id)
	r, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("apikey: get: %w", err)
	}
	return r, nil
}

// List returns keys by id.
func (s *SQLStore) List(ctx context.Context, f Filter) ([]Record, error) {
	if f.Tenant == "" {
		return s.query(ctx, `SELECT `+columns+` FROM edge_api_keys WHERE id > $1 ORDER BY id LIMIT $2`, f.After, f.Limit)
	}
	return s.query(ctx, `SELECT `+columns+` FROM edge_api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3`,
		f.Tenant, f.After, f.Limit)
}

// Revoke ends a key.
func (s *SQLStore) Revoke(ctx context.Context, id string, t time.Time) (Record, error) {
	var out Record
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		_, err := tx.ExecContext(ctx, `UPDATE edge_api_keys SET revoke_time = $1, revision = $2
			WHERE id = $3 AND revoke_time = 0`, micros(t), revision, id)
		if err != nil {
			return err
		}
		out, err = scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM edge_api_keys WHERE id = $1`, id))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("apikey: revoke: %w", err)
	}
	return out, nil
}

// Revision returns the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_api_keys_revision WHERE one = 1`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("apikey: read the revision: %w", err)
	}
	return revision, nil
}

// Changes returns keys that changed after a revision.
func (s *SQLStore) Changes(ctx context.Context, after int64, limit int) ([]Record, error) {
	return s.query(ctx, `SELECT `+columns+` FROM edge_api_keys WHERE revision > $1 ORDER BY revision LIMIT $2`, after, limit)
}

func (s *SQLStore) query(ctx context.Context, query string, args ...any) (out []Record, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("apikey: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("apikey: list: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("apikey: list: %w", err)
	}
	return out, nil
}

func scan(row interface{ Scan(dest ...any) error }) (Record, error) {
	var (
		r                       Record
		roles, groups           string
		created, expire, revoke int64
	)
	err := row.Scan(&r.ID, &r.Name, &r.Tenant, &r.Subject, &roles, &groups, &r.Hash,
		&created, &expire, &revoke, &r.RequestsPerMinute, &r.Revision)
	if err != nil {
		return Record{}, err
	}
	if err := json.Unmarshal([]byte(roles), &r.Roles); err != nil {
		return Record{}, fmt.Errorf("the roles of key %s: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(groups), &r.Groups); err != nil {
		return Record{}, fmt.Errorf("the groups of key %s: %w", r.ID, err)
	}
	r.CreateTime, r.ExpireTime, r.RevokeTime = fromMicros(created), fromMicros(expire), fromMicros(revoke)
	return r, nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
