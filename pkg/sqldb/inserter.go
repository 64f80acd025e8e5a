package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Inserter inserts many rows into one table by statements that stay prepared: to read a
// long statement anew takes longer than carrying it out. It is safe for concurrent use.
type Inserter struct {
	db          *DB
	into, after string
	columns     []string

	whole, short form

	mu       sync.Mutex
	prepared bool
	spare    *bulk // the memory for the next values; nil: none, or in use
}

// form is how rows stand in statements.
type form struct {
	// fixed are values that stand in the text, by column; nil: it is a place.
	fixed  []any
	bySize map[int]*sql.Stmt // by how many rows it inserts
}

// insertedAtOnce are the numbers of rows that one statement inserts: few statements for
// any number, and far below the bounds on parameters.
func insertedAtOnce() []int { return []int{32, 8, 1} }

// NewInserter returns one for the given columns of a table; after is what stands behind
// the rows, as ON CONFLICT DO NOTHING.
func (db *DB) NewInserter(table, columns, after string) *Inserter {
	i := &Inserter{db: db, into: table, after: after}
	for name := range strings.SplitSeq(columns, ",") {
		i.columns = append(i.columns, strings.TrimSpace(name))
	}
	i.whole.fixed, i.short.fixed = make([]any, len(i.columns)), make([]any, len(i.columns))
	return i
}

// Mostly says that nearly all rows have value, which is "" or int64(0), in the columns of
// these names. Rows that have it in all columns of which that was said are inserted before
// the others, by statements in whose text it stands: each place less saves as much as a
// tenth of an index. It must be called before Prepare, and panics on another value, and
// when there is no such column.
func (i *Inserter) Mostly(value any, columns ...string) *Inserter {
	if value != "" && value != int64(0) {
		panic(fmt.Sprintf("sqldb: %v cannot stand in a statement's text", value))
	}
	for _, name := range columns {
		i.short.fixed[slices.Index(i.columns, name)] = value
	}
	return i
}

// Prepare makes the statements, which are closed with the database. It must not be
// called in a transaction: SQLite has one connection that writes.
func (i *Inserter) Prepare(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.prepared {
		return nil
	}
	for _, f := range []*form{&i.whole, &i.short} {
		if i.whole.bySize != nil && !slices.ContainsFunc(f.fixed, func(v any) bool { return v != nil }) {
			f.bySize = i.whole.bySize
			continue
		}
		bySize := make(map[int]*sql.Stmt)
		for _, rows := range insertedAtOnce() {
			stmt, err := i.db.PrepareContext(ctx, strings.Join([]string{ //nolint:sqlclosecheck // the database closes it
				i.db.Dialect.insert(), i.into, "(", strings.Join(i.columns, ", "), ") VALUES", i.db.Dialect.rows(rows, f.fixed), i.after,
			}, " "))
			if err != nil {
				return fmt.Errorf("sqldb: prepare: %w", err)
			}
			bySize[rows] = stmt
		}
		f.bySize = bySize
	}
	i.prepared = true
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
// order of the columns, as the types of driver.Value. It may be asked twice for the same
// one. It returns how many were inserted. After an error the transaction must be rolled
// back.
func (i *Inserter) Insert(ctx context.Context, tx *sql.Tx, rows int, row func(dst []any, n int) []any) (int, error) {
	values := i.take()
	defer i.give(values)
	most := insertedAtOnce()[0]
	short, whole := i.insertion(tx, &i.short, values), i.insertion(tx, &i.whole, values)
	var others []int
	for n := range rows {
		values.row = row(values.row[:0], n)
		if !i.short.fits(values.row) {
			others = append(others, n)
			continue
		}
		if values.add(i.short.fixed); values.rows == most {
			if err := short.run(ctx); err != nil {
				return 0, err
			}
		}
	}
	if err := short.run(ctx); err != nil {
		return 0, err
	}
	for _, n := range others {
		values.row = row(values.row[:0], n)
		if values.add(i.whole.fixed); values.rows == most {
			if err := whole.run(ctx); err != nil {
				return 0, err
			}
		}
	}
	err := whole.run(ctx)
	return short.inserted + whole.inserted, err
}

// fits reports whether a row has the values that stand in the text.
func (f *form) fits(row []any) bool {
	for n, v := range f.fixed {
		if v != nil && row[n] != v {
			return false
		}
	}
	return true
}

// insertion is one call of Insert, as far as it is about rows of one form.
type insertion struct {
	*Inserter
	tx       *sql.Tx
	form     *form
	values   *bulk
	ready    map[int]*sql.Stmt // in tx
	inserted int
}

func (i *Inserter) insertion(tx *sql.Tx, f *form, values *bulk) *insertion {
	return &insertion{Inserter: i, tx: tx, form: f, values: values, ready: make(map[int]*sql.Stmt)}
}

// run inserts the rows whose values were added.
func (n *insertion) run(ctx context.Context) error {
	for _, size := range insertedAtOnce() {
		for n.values.rows >= size {
			stmt := n.ready[size]
			if stmt == nil {
				stmt = n.tx.StmtContext(ctx, n.form.bySize[size])
				n.ready[size] = stmt
			}
			result, err := n.exec(ctx, stmt, n.values.first(size))
			if err != nil {
				return err
			}
			inserted, err := result.RowsAffected()
			if err != nil {
				return err
			}
			n.inserted += int(inserted)
			n.values.drop()
			// SQLite works on this goroutine, and a batch for many milliseconds: others whose
			// turn it is on this processor come first.
			runtime.Gosched()
		}
	}
	return nil
}

// exec carries stmt out with values.
func (i *Inserter) exec(ctx context.Context, stmt *sql.Stmt, values *bulk) (sql.Result, error) {
	if i.db.Dialect == SQLite {
		return stmt.ExecContext(ctx, values)
	}
	args := make([]any, len(values.now))
	for n, v := range values.now {
		args[n] = v.Value
	}
	return stmt.ExecContext(ctx, args...)
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
