package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// Inserter inserts many rows into one table by statements that stay prepared: to read a
// long statement anew takes longer than carrying it out. It is safe for concurrent use.
type Inserter struct {
	db                   *DB
	into, columns, after string
	width                int

	mu       sync.Mutex
	prepared map[int]*sql.Stmt // by how many rows it inserts
	spare    *bulk             // the memory for the next values; nil: none, or in use
}

// insertedAtOnce are the numbers of rows that one statement inserts: few statements for
// any number, and far below the bounds on parameters.
func insertedAtOnce() []int { return []int{32, 8, 1} }

// NewInserter returns one for the given columns of a table; after is what stands behind
// the rows, as ON CONFLICT DO NOTHING.
func (db *DB) NewInserter(table, columns, after string) *Inserter {
	return &Inserter{db: db, into: table, columns: columns, after: after, width: strings.Count(columns, ",") + 1}
}

// Prepare makes the statements, which are closed with the database. It must not be
// called in a transaction: SQLite has one connection that writes.
func (i *Inserter) Prepare(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.prepared != nil {
		return nil
	}
	prepared := make(map[int]*sql.Stmt)
	for _, rows := range insertedAtOnce() {
		stmt, err := i.db.PrepareContext(ctx, strings.Join([]string{i.db.Dialect.insert(), i.into, "(", i.columns, ") VALUES", i.db.Dialect.Places(rows, i.width), i.after}, " ")) //nolint:sqlclosecheck // the database closes it
		if err != nil {
			return fmt.Errorf("sqldb: prepare: %w", err)
		}
		prepared[rows] = stmt
	}
	i.prepared = prepared
	return nil
}

// insert begins a statement after whose failure the transaction ends: SQLite need not
// keep each page as it was before the statement, to take back that one alone.
func (d Dialect) insert() string {
	if d == SQLite {
		return "INSERT OR FAIL INTO"
	}
	return "INSERT INTO"
}

// Insert inserts rows in tx, after Prepare; row appends the values of one of them, in the
// order of the columns, as the types of driver.Value. It returns how many were inserted.
// After an error the transaction must be rolled back.
func (i *Inserter) Insert(ctx context.Context, tx *sql.Tx, rows int, row func(dst []any, n int) []any) (int, error) {
	values := i.take()
	defer i.give(values)
	inserted, done := 0, 0
	for _, size := range insertedAtOnce() {
		if rows-done < size {
			continue
		}
		stmt := tx.StmtContext(ctx, i.statement(size))
		for ; rows-done >= size; done += size {
			values.fill(done, size, row)
			result, err := i.exec(ctx, stmt, values)
			if err != nil {
				return 0, err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return 0, err
			}
			inserted += int(n)
			// SQLite works on this goroutine, and a batch for many milliseconds: others whose
			// turn it is on this processor come first.
			runtime.Gosched()
		}
	}
	return inserted, nil
}

// exec carries stmt out with values.
func (i *Inserter) exec(ctx context.Context, stmt *sql.Stmt, values *bulk) (sql.Result, error) {
	if i.db.Dialect == SQLite {
		return stmt.ExecContext(ctx, values)
	}
	args := make([]any, len(values.args))
	for n, v := range values.args {
		args[n] = v.Value
	}
	return stmt.ExecContext(ctx, args...)
}

func (i *Inserter) statement(rows int) *sql.Stmt {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.prepared[rows]
}

// take returns the memory for values, which give gets back.
func (i *Inserter) take() *bulk {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.spare
	if i.spare = nil; b == nil {
		b = new(bulk)
	}
	return b
}

func (i *Inserter) give(b *bulk) {
	b.clear()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spare = b
}
