package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poterne/poterne/pkg/sqldb"
)

// notifyChannel is where PostgreSQL tells of every commit.
const notifyChannel = "poterne_registry"

// Listen calls wake whenever some process has committed a change, once at the
// beginning, and until ctx ends or the connection fails: call it again then. On
// SQLite, which has no other process to tell of, it only waits for ctx. It uses
// a connection of its own; a pooler that shares connections between
// transactions hears nothing, and leaves the watchers to the poll.
func Listen(ctx context.Context, cfg sqldb.Config, wake func()) error {
	dialect, err := sqldb.DialectOf(cfg.DSN.Reveal())
	if err != nil {
		return err
	}
	if dialect != sqldb.Postgres {
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
	if _, err := conn.Exec(ctx, "LISTEN "+notifyChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	wake() // for what was committed before the connection listened
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		wake()
	}
}
