package route

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
	ErrNotFound = errors.New("route: there is no such route")
	// ErrChanged says that the route is no longer what the caller saw.
	ErrChanged = errors.New("route: the route has changed")
	// ErrFull says that there are as many routes as are kept.
	ErrFull = errors.New("route: there are too many routes")
)

// AnyVersion stands for whatever version there is, none among them.
const AnyVersion = -1

// Stored is a route as it is kept; those of the configuration have the version 0.
type Stored struct {
	Route

	Version int64
	// Author is tenant/subject.
	Author                 string
	CreateTime, UpdateTime time.Time
}

// Store keeps routes where every edge sees them. Implementations are safe for
// concurrent use.
type Store interface {
	// Put adds or replaces a route whose version must be was, 0 for none, and returns it
	// with its new one.
	Put(ctx context.Context, s Stored, was int64) (Stored, error)
	// Delete removes a route whose version must be was.
	Delete(ctx context.Context, name string, was int64) error
	// Revision changes with every change.
	Revision(ctx context.Context) (int64, error)
	// List returns every route, by name.
	List(ctx context.Context) ([]Stored, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// change runs fn once the route's version, which is handed to it with the change's
// number, is was.
func (s *SQLStore) change(ctx context.Context, what, name string, was int64, fn func(ctx context.Context, tx *sql.Tx, old, revision int64) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_routes_revision SET revision = revision + 1 WHERE one = 1`); err != nil {
			return err
		}
		var revision, old int64
		if err := tx.QueryRowContext(ctx, `SELECT revision FROM edge_routes_revision WHERE one = 1`).Scan(&revision); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT version FROM edge_routes WHERE name = $1`, name).Scan(&old)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if was != AnyVersion && was != old {
			return ErrChanged
		}
		return fn(ctx, tx, old, revision)
	})
	if err != nil {
		return fmt.Errorf("route: %s: %w", what, err)
	}
	return nil
}

// Put adds or replaces a route.
func (s *SQLStore) Put(ctx context.Context, r Stored, was int64) (Stored, error) {
	text, err := json.Marshal(r.Route)
	if err != nil {
		return r, fmt.Errorf("route: keep: %w", err)
	}
	err = s.change(ctx, "keep", r.Name, was, func(ctx context.Context, tx *sql.Tx, old, revision int64) error {
		if old == 0 {
			var all int
			if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_routes`).Scan(&all); err != nil {
				return err
			}
			if all >= MaxRoutes {
				return ErrFull
			}
		} else if err := tx.QueryRowContext(ctx, `SELECT create_time FROM edge_routes WHERE name = $1`, r.Name).
			Scan(timeOf(&r.CreateTime)); err != nil {
			return err
		}
		r.Version = revision
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_routes (name, version, route, author, create_time, update_time)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (name) DO UPDATE SET version = excluded.version, route = excluded.route, author = excluded.author,
				update_time = excluded.update_time`,
			r.Name, r.Version, string(text), r.Author, sqldb.Micros(r.CreateTime), sqldb.Micros(r.UpdateTime))
		return err
	})
	return r, err
}

// Delete removes a route.
func (s *SQLStore) Delete(ctx context.Context, name string, was int64) error {
	return s.change(ctx, "remove", name, was, func(ctx context.Context, tx *sql.Tx, old, _ int64) error {
		if old == 0 {
			return ErrNotFound
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM edge_routes WHERE name = $1`, name)
		return err
	})
}

// Revision is the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (revision int64, err error) {
	if err = s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_routes_revision WHERE one = 1`).Scan(&revision); err != nil {
		return 0, fmt.Errorf("route: read the revision: %w", err)
	}
	return revision, nil
}

// List returns every route.
func (s *SQLStore) List(ctx context.Context) (out []Stored, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT name, version, route, author, create_time, update_time
		FROM edge_routes ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("route: list: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r Stored
		var name, text string
		if err := rows.Scan(&name, &r.Version, &text, &r.Author, timeOf(&r.CreateTime), timeOf(&r.UpdateTime)); err != nil {
			return nil, fmt.Errorf("route: list: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &r.Route); err != nil {
			return nil, fmt.Errorf("route: read the route %s: %w", name, err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("route: list: %w", err)
	}
	return out, nil
}

// timeOf scans a time that is kept in microseconds.
func timeOf(t *time.Time) sql.Scanner { return micros{t} }

type micros struct{ t *time.Time }

func (m micros) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("route: a time is kept as %T", v)
	}
	*m.t = sqldb.FromMicros(n)
	return nil
}
