package sqldb

import (
	"context"
	"database/sql"
	"fmt"
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

	whole, short, alike form

	mu       sync.Mutex
	prepared bool
	spare    *bulk // the memory for the next values; nil: none, or in use
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
	for _, f := range []*form{&i.whole, &i.short, &i.alike} {
		*f = newForm(len(i.columns))
	}
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
		n := slices.Index(i.columns, name)
		i.short.fixed[n], i.alike.fixed[n] = value, value
	}
	return i
}

// Alike says that rows which come one after the other often have one value in each of the
// columns of these names, which are not bytes. Where all rows of a statement have, it gets
// that value once. It must be called before Prepare, and panics when there is no such column.
func (i *Inserter) Alike(columns ...string) *Inserter {
	for _, name := range columns {
		i.alike.shared[slices.Index(i.columns, name)] = true
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
	for _, f := range []*form{&i.whole, &i.short, &i.alike} {
		if err := i.prepare(ctx, f); err != nil {
			return fmt.Errorf("sqldb: prepare: %w", err)
		}
	}
	i.prepared = true
	return nil
}

func (i *Inserter) prepare(ctx context.Context, f *form) error {
	f.bySize = make(map[int]*sql.Stmt)
	if f == &i.short && !f.shortens() || f == &i.alike && !f.shares() {
		return nil // nothing is to be gained by it
	}
	var names []string
	var fixed []any
	for _, n := range f.arrange() {
		names = append(names, i.columns[n])
		if f.fixed[n] != nil {
			fixed = append(fixed, f.fixed[n])
		}
	}
	for _, rows := range insertedAtOnce() {
		if rows == 1 && f == &i.alike {
			continue
		}
		stmt, err := i.db.PrepareContext(ctx, strings.Join([]string{ //nolint:sqlclosecheck // the database closes it
			i.db.Dialect.insert(), i.into, "(", strings.Join(names, ", "), ") VALUES", i.db.Dialect.rows(rows, len(f.once), len(f.each), fixed), i.after,
		}, " "))
		if err != nil {
			return err
		}
		f.bySize[rows] = stmt
	}
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

// Insert inserts rows in tx, after Prepare; row tells the values of one of them, in the
// order of the columns. It may be asked twice for the same one. It returns how many were
// inserted. After an error the transaction must be rolled back.
func (i *Inserter) Insert(ctx context.Context, tx *sql.Tx, rows int, row func(r *Row, n int)) (int, error) {
	n := insertion{Inserter: i, tx: tx, ready: make(map[*sql.Stmt]*sql.Stmt), values: i.take(), pace: newPace()}
	defer i.give(n.values)
	most := insertedAtOnce()[0]
	var others []int
	for at := range rows {
		row(n.values.next(), at)
		if !i.short.fits(n.values.row()) {
			others = append(others, at)
			continue
		}
		if n.values.keep(); n.values.rows == most {
			if err := n.run(ctx, &i.alike, &i.short, &i.whole); err != nil {
				return 0, err
			}
		}
	}
	if err := n.run(ctx, &i.alike, &i.short, &i.whole); err != nil {
		return 0, err
	}
	for _, at := range others {
		row(n.values.next(), at)
		if n.values.keep(); n.values.rows == most {
			if err := n.run(ctx, &i.whole); err != nil {
				return 0, err
			}
		}
	}
	err := n.run(ctx, &i.whole)
	return n.inserted, err
}

// insertion is one call of Insert.
type insertion struct {
	*Inserter
	tx       *sql.Tx
	ready    map[*sql.Stmt]*sql.Stmt // in tx
	values   *bulk
	inserted int
	pace     pace
}

// run inserts the rows that were kept, by the first of forms that can.
func (n *insertion) run(ctx context.Context, forms ...*form) error {
	from := 0
	for _, size := range insertedAtOnce() {
		for ; n.values.rows-from >= size; from += size {
			rows := n.values.of(from, size)
			f := forms[slices.IndexFunc(forms, func(f *form) bool { return f.bySize[size] != nil && f.takes(rows) })]
			if err := n.exec(ctx, f.bySize[size], n.values.lay(f, rows)); err != nil {
				return err
			}
			n.pace.next()
		}
	}
	n.values.drop()
	return nil
}

// exec carries a statement out with values.
func (n *insertion) exec(ctx context.Context, prepared *sql.Stmt, values *bulk) error {
	args := []any{values}
	if n.db.Dialect != SQLite {
		args = make([]any, len(values.now))
		for at, v := range values.now {
			args[at] = v.Value
		}
	}
	stmt := n.ready[prepared]
	if stmt == nil {
		stmt = n.tx.StmtContext(ctx, prepared) //nolint:sqlclosecheck // the transaction closes it
		n.ready[prepared] = stmt
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return err
	}
	inserted, err := result.RowsAffected()
	n.inserted += int(inserted)
	return err
}

// take returns the memory for values, which give gets back.
func (i *Inserter) take() *bulk {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := i.spare
	if i.spare = nil; b == nil {
		b = newBulk(len(i.columns))
	}
	return b
}

func (i *Inserter) give(b *bulk) {
	b.clear()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.spare = b
}
