//go:build !embedded

package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

func openPostgres(url string) (*sql.DB, error) { return sql.Open("pgx", url) }

// Described returns args for a statement on db whose text is one of too many to be
// prepared by name: what it takes is asked of PostgreSQL, and remembered.
func (db *DB) Described(args []any) []any {
	if db.Dialect != Postgres {
		return args
	}
	return append([]any{pgx.QueryExecModeCacheDescribe}, args...)
}

// Listen calls wake whenever something is told on a channel of PostgreSQL, once at
// the beginning, and until ctx ends or the connection fails: call it again then. On
// SQLite, which has no other process to tell of, it only waits for ctx. It uses a
// connection of its own; a pooler that shares connections between transactions
// hears nothing.
func Listen(ctx context.Context, cfg Config, channel string, wake func()) error {
	dialect, err := DialectOf(cfg.DSN.Reveal())
	if err != nil {
		return err
	}
	if dialect != Postgres {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	conn, err := pgx.Connect(ctx, cfg.DSN.Reveal())
	if err != nil {
		// pgx repeats the connection string, with the password masked, and so the
		// host; the operator needs that.
		return fmt.Errorf("listen: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	wake() // for what was told before the connection listened
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		wake()
	}
}

func pgCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// scrub replaces an error that repeats the connection string.
func scrub(err error) error {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return errors.New("the connection string is not valid")
	}
	return err
}
