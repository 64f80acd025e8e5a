package apikey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// Create adds a key.
func (s *SQLStore) Create(ctx context.Context, r Record) (Record, error) {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		r.Revision = revision
		if r.ServiceAccount != "" {
			a, err := accountIn(ctx, tx, AccountID{r.Tenant, r.ServiceAccount})
			if err != nil {
				return err
			}
			r.Account = &a
		}
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
		revision, err := nextRevision(ctx, tx)
		if err != nil {
			return err
		}
		return fn(ctx, tx, revision)
	})
}

func nextRevision(ctx context.Context, tx *sql.Tx) (revision int64, err error) {
	err = tx.QueryRowContext(ctx,
		`UPDATE edge_api_keys_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("take a revision: %w", err)
	}
	return revision, nil
}

// columnNames are the names in columns, without what they are of.
func columnNames(columns string) string {
	names := strings.Split(columns, ",")
	for i, n := range names {
		_, names[i], _ = strings.Cut(strings.TrimSpace(n), ".")
	}
	return strings.Join(names, ", ")
}

func insert(ctx context.Context, tx *sql.Tx, r Record) error {
	_, err := tx.ExecContext(ctx, insertInto("edge_api_keys", keyColumns), r.values()...)
	return err
}

func insertInto(table, columns string) string {
	names := columnNames(columns)
	return `INSERT INTO ` + table + ` (` + names + `) VALUES (` + places(strings.Count(names, ",")+1) + `)`
}

// updateWhere is the statement that writes all columns of rows where each of keys,
// whose values come after theirs, is as given.
func updateWhere(table, columns string, keys ...string) string {
	names := columnNames(columns)
	n := strings.Count(names, ",") + 1
	conditions := make([]string, len(keys))
	for i, key := range keys {
		conditions[i] = key + ` = $` + strconv.Itoa(n+1+i)
	}
	return `UPDATE ` + table + ` SET (` + names + `) = (` + places(n) + `) WHERE ` + strings.Join(conditions, ` AND `)
}

// places are n placeholders.
func places(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "$" + strconv.Itoa(1+i)
	}
	return strings.Join(out, ", ")
}

// Get returns a key.
func (s *SQLStore) Get(ctx context.Context, id string) (Record, error) {
	r, err := scanKey(s.db.Reader().QueryRowContext(ctx, selectKeys+`WHERE k.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("apikey: get: %w", err)
	}
	return r, nil
}

// GetAll returns keys.
func (s *SQLStore) GetAll(ctx context.Context, ids []string) ([]Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return s.query(ctx, `WHERE k.id IN (`+places(len(ids))+`)`, args...)
}

// List returns keys by id.
func (s *SQLStore) List(ctx context.Context, f Filter) ([]Record, error) {
	conditions, args := []string{"k.id > $1"}, []any{f.After}
	where := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		conditions = append(conditions, condition)
	}
	for _, c := range []struct{ column, value string }{
		{"k.tenant", f.Tenant}, {"k.subject", f.Subject}, {"k.owner", f.Owner}, {"k.service_account", f.ServiceAccount},
	} {
		if c.value != "" {
			where(c.column+" = ?", c.value)
		}
	}
	const (
		current  = "k.revoke_time = 0 AND (k.expire_time = 0 OR k.expire_time > ?)"
		disabled = "k.service_account <> '' AND COALESCE(a.disabled, 1) = 1"
	)
	switch f.State {
	case Active:
		where(current+" AND NOT ("+disabled+")", sqldb.Micros(f.Now))
	case StateDisabled:
		where(current+" AND "+disabled, sqldb.Micros(f.Now))
	case StateRevoked:
		where("k.revoke_time <> 0")
	case StateExpired:
		where("k.revoke_time = 0 AND k.expire_time <> 0 AND k.expire_time <= ?", sqldb.Micros(f.Now))
	}
	if !f.UnusedSince.IsZero() {
		where("COALESCE(u.last_time, k.create_time) < ?", sqldb.Micros(f.UnusedSince))
	}
	args = append(args, f.Limit)
	return s.query(ctx, `WHERE `+strings.Join(conditions, " AND ")+` ORDER BY k.id LIMIT $`+strconv.Itoa(len(args)), args...)
}

// Revoke ends a key.
func (s *SQLStore) Revoke(ctx context.Context, id string, t time.Time) (Record, error) {
	r, err := s.Update(ctx, id, func(r *Record) error {
		r.RevokeTime = t
		return nil
	})
	if errors.Is(err, ErrEnded) {
		return s.Get(ctx, id)
	}
	return r, err
}

// Update changes a key.
func (s *SQLStore) Update(ctx context.Context, id string, edit func(r *Record) error) (Record, error) {
	var out Record
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		r, err := scanKey(tx.QueryRowContext(ctx, selectKeys+`WHERE k.id = $1`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if !r.RevokeTime.IsZero() {
			return ErrEnded
		}
		if err := edit(&r); err != nil {
			return err
		}
		r.Revision = revision
		out = r
		_, err = tx.ExecContext(ctx, updateWhere("edge_api_keys", keyColumns, "id"), append(r.values(), id)...)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("apikey: update: %w", err)
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
	return s.query(ctx, `WHERE k.revision > $1 ORDER BY k.revision LIMIT $2`, after, limit)
}

func (s *SQLStore) query(ctx context.Context, where string, args ...any) ([]Record, error) {
	return list(ctx, s.db.Reader(), scanKey, selectKeys+where, args...)
}

func list[T any](ctx context.Context, from querier, scan func(row) (T, error), query string, args ...any) (out []T, err error) {
	rows, err := from.QueryContext(ctx, query, args...)
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

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}
