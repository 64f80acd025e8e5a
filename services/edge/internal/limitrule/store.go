package limitrule

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// The errors of a store.
var (
	ErrNotFound = errors.New("limitrule: there is no such limit")
	// ErrChanged says that the limit is no longer what the caller saw.
	ErrChanged = errors.New("limitrule: the limit has changed")
	// ErrFull says that a tenant has as many limits as it may.
	ErrFull = errors.New("limitrule: there are too many limits")
)

// AnyVersion stands for whatever version there is, none among them.
const AnyVersion = -1

// maxStored bounds the limits of all tenants together.
const maxStored = 10_000

// Stored is a limit as it is kept.
type Stored struct {
	Owned

	// Author is tenant/subject.
	Author                 string
	CreateTime, UpdateTime time.Time
}

// Store keeps limits where every edge sees them. Implementations are safe for
// concurrent use.
type Store interface {
	// Put adds or replaces a limit whose version must be was, 0 for none, and returns it
	// with its new one.
	Put(ctx context.Context, s Stored, was int64) (Stored, error)
	// Delete removes a limit whose version must be was.
	Delete(ctx context.Context, tenant, name string, was int64) error
	// Revision changes with every change.
	Revision(ctx context.Context) (int64, error)
	// List returns every limit, by tenant and name.
	List(ctx context.Context) ([]Stored, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// change runs fn once the limit's version, which is handed to it with the change's
// number, is was.
func (s *SQLStore) change(ctx context.Context, what, tenant, name string, was int64, fn func(ctx context.Context, tx *sql.Tx, old, revision int64) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_limits_revision SET revision = revision + 1 WHERE one = 1`); err != nil {
			return err
		}
		var revision, old int64
		if err := tx.QueryRowContext(ctx, `SELECT revision FROM edge_limits_revision WHERE one = 1`).Scan(&revision); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT version FROM edge_limits WHERE tenant = $1 AND name = $2`, tenant, name).Scan(&old)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if was != AnyVersion && was != old {
			return ErrChanged
		}
		return fn(ctx, tx, old, revision)
	})
	if err != nil {
		return fmt.Errorf("limitrule: %s: %w", what, err)
	}
	return nil
}

// Put adds or replaces a limit.
func (s *SQLStore) Put(ctx context.Context, r Stored, was int64) (Stored, error) {
	text, err := json.Marshal(r.Rule)
	if err != nil {
		return r, fmt.Errorf("limitrule: keep: %w", err)
	}
	err = s.change(ctx, "keep", r.Tenant, r.Name, was, func(ctx context.Context, tx *sql.Tx, old, revision int64) error {
		if old == 0 {
			var own, all int
			if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN tenant = $1 THEN 1 ELSE 0 END), 0) FROM edge_limits`, r.Tenant).Scan(&all, &own); err != nil {
				return err
			}
			if own >= MaxRules || all >= maxStored {
				return ErrFull
			}
		} else if err := tx.QueryRowContext(ctx, `SELECT create_time FROM edge_limits WHERE tenant = $1 AND name = $2`, r.Tenant, r.Name).
			Scan(timeOf(&r.CreateTime)); err != nil {
			return err
		}
		r.Version, r.Born = revision, r.CreateTime.UnixMicro()
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_limits (tenant, name, version, rule, author, create_time, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, rule = excluded.rule, author = excluded.author,
				update_time = excluded.update_time`,
			r.Tenant, r.Name, r.Version, string(text), r.Author, sqldb.Micros(r.CreateTime), sqldb.Micros(r.UpdateTime))
		return err
	})
	return r, err
}

// Delete removes a limit.
func (s *SQLStore) Delete(ctx context.Context, tenant, name string, was int64) error {
	return s.change(ctx, "remove", tenant, name, was, func(ctx context.Context, tx *sql.Tx, old, _ int64) error {
		if old == 0 {
			return ErrNotFound
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_limits WHERE tenant = $1 AND name = $2`, tenant, name)
		return err
	})
}

// Revision is the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (revision int64, err error) {
	if err = s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_limits_revision WHERE one = 1`).Scan(&revision); err != nil {
		return 0, fmt.Errorf("limitrule: read the revision: %w", err)
	}
	return revision, nil
}

// List returns every limit.
func (s *SQLStore) List(ctx context.Context) (out []Stored, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT tenant, name, version, rule, author, create_time, update_time
		FROM edge_limits ORDER BY tenant, name`)
	if err != nil {
		return nil, fmt.Errorf("limitrule: list: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r Stored
		var name, text string
		if err := rows.Scan(&r.Tenant, &name, &r.Version, &text, &r.Author, timeOf(&r.CreateTime), timeOf(&r.UpdateTime)); err != nil {
			return nil, fmt.Errorf("limitrule: list: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &r.Rule); err != nil {
			return nil, fmt.Errorf("limitrule: read the limit %s: %w", name, err)
		}
		r.Born = r.CreateTime.UnixMicro()
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("limitrule: list: %w", err)
	}
	return out, nil
}

// timeOf scans a time that is kept in microseconds.
func timeOf(t *time.Time) sql.Scanner { return micros{t} }

type micros struct{ t *time.Time }

func (m micros) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("limitrule: a time is kept as %T", v)
	}
	*m.t = sqldb.FromMicros(n)
	return nil
}
