//go:build embedded

package sqldb

import (
	"context"
	"database/sql"
	"errors"
)

// A program with the build tag embedded keeps everything in SQLite, and is smaller
// by PostgreSQL's client.

func openPostgres(string) (*sql.DB, error) {
	return nil, errors.New("this program is built for SQLite alone; each service's own binary has a PostgreSQL client")
}

// Described returns args.
func (db *DB) Described(args []any) []any { return args }

// Listen waits for ctx: no other process has the store.
func Listen(ctx context.Context, _ Config, _ string, _ func()) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func pgCode(error) string { return "" }

func scrub(err error) error { return err }
