package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// The bounds on running one transaction again.
const (
	maxAttempts = 10
	firstPause  = 5 * time.Millisecond
	longestWait = 200 * time.Millisecond
)

// InTx runs fn in a serialisable transaction, which is committed when fn
// returns nil and rolled back otherwise. A transaction that lost a race is run
// again, up to ten times: fn must have no effect but on tx and on what it sets
// anew each time.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return again(ctx, func() error {
		return once(ctx, db.DB, &sql.TxOptions{Isolation: sql.LevelSerializable}, fn)
	})
}

// InTurn is InTx for a transaction whose first statement locks a row that all
// its rivals lock first, too. They take turns instead of running again: on
// PostgreSQL it runs at READ COMMITTED, so that each statement after the lock
// sees what those before it in the queue have committed.
func (db *DB) InTurn(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return again(ctx, func() error {
		return once(ctx, db.DB, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, fn)
	})
}

// InSnapshot runs fn in a transaction that only reads and sees one state of the
// database; on SQLite it does not wait for the writer.
func (db *DB) InSnapshot(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return again(ctx, func() error {
		return once(ctx, db.reader, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
	})
}

func again(ctx context.Context, run func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil || !IsRetryable(err) || attempt == maxAttempts {
			return err
		}
		wait := pause/2 + rand.N(pause/2) //nolint:gosec // jitter is no secret
		if ended := clock.Sleep(ctx, clock.Real(), wait); ended != nil {
			return errors.Join(ended, err)
		}
		pause = min(2*pause, longestWait)
	}
}

func once(ctx context.Context, db *sql.DB, opts *sql.TxOptions, fn func(context.Context, *sql.Tx) error) (err error) {
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("sqldb: begin: %w", err)
	}
	defer func() {
		// Also when fn panics: the connection must not keep its locks.
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("sqldb: roll back: %w", rollback))
		}
	}()
	if err := fn(ctx, tx); err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			// The end of ctx rolls back beside fn, whose statements then fail as closed.
			err = errors.Join(context.Cause(ctx), err)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		if ctx.Err() != nil && errors.Is(err, sql.ErrTxDone) {
			err = context.Cause(ctx) // the end of ctx has rolled it back
		}
		return fmt.Errorf("sqldb: commit: %w", err)
	}
	return nil
}
