package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

// bulkConnector opens SQLite's connections, whose statements take all of the values of
// several rows as one argument, a *bulk. database/sql would look at each value, and make
// room for all of them with every call: of 32 rows of 32 columns that is 57 KB.
type bulkConnector struct {
	driver driver.Driver
	uri    string
}

// openBulk is sql.Open for SQLite.
func openBulk(uri string) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(bulkConnector{plain.Driver(), uri}), plain.Close()
}

// Connect implements driver.Connector.
func (c bulkConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.uri)
	if err != nil {
		return nil, err
	}
	whole, ok := conn.(sqliteConn)
	if !ok {
		return nil, fmt.Errorf("sqldb: %T is not SQLite's connection", conn)
	}
	return bulkConn{whole}, nil
}

// Driver implements driver.Connector.
func (c bulkConnector) Driver() driver.Driver { return c.driver }

// sqliteConn is what database/sql asks SQLite's connection for.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type bulkConn struct{ sqliteConn }

// PrepareContext implements driver.ConnPrepareContext.
func (c bulkConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	whole, ok := stmt.(sqliteStmt)
	if !ok {
		return nil, fmt.Errorf("sqldb: %T is not SQLite's statement", stmt)
	}
	return bulkStmt{whole}, nil
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type bulkStmt struct{ sqliteStmt }

// CheckNamedValue implements driver.NamedValueChecker.
func (bulkStmt) CheckNamedValue(v *driver.NamedValue) error {
	if _, ok := v.Value.(*bulk); ok {
		return nil
	}
	return driver.ErrSkip
}

// ExecContext implements driver.StmtExecContext.
func (s bulkStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 1 {
		if b, ok := args[0].Value.(*bulk); ok {
			// The driver has a goroutine watch ctx during each statement. These are short, and
			// have the lock already: it is enough to look between them.
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			ctx, args = context.WithoutCancel(ctx), b.now
		}
	}
	return s.sqliteStmt.ExecContext(ctx, args)
}

// bulk is the rows of one call of Insert that wait for a statement, and its arguments.
type bulk struct {
	Row

	rows int // that wait
	args []driver.NamedValue
	now  []driver.NamedValue // those of a statement
}

func newBulk(columns int) *bulk {
	return &bulk{Row: Row{columns: columns, values: make([]any, columns)}}
}

// next is for the values of another row, which waits as soon as keep is called.
func (b *bulk) next() *Row {
	b.values = b.values[:(1+b.rows)*b.columns]
	return &b.Row
}

func (b *bulk) keep() { b.rows++ }

// row is the one that next was for.
func (b *bulk) row() []any { return b.values[(1+b.rows)*b.columns:] }

// of are the values of some of the rows that wait.
func (b *bulk) of(from, rows int) []any {
	return b.values[(1+from)*b.columns : (1+from+rows)*b.columns]
}

// lay has a statement of form f get the values of rows. Nobody converts them: they must be
// int64, float64, bool, []byte, string, time.Time or nil.
func (b *bulk) lay(f *form, rows []any) *bulk {
	b.args = b.args[:0]
	for _, n := range f.once {
		b.add(rows[n])
	}
	for ; len(rows) > 0; rows = rows[b.columns:] {
		for _, n := range f.each {
			b.add(rows[n])
		}
	}
	b.now = b.args
	return b
}

func (b *bulk) add(value any) {
	b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: value})
}

// drop lets go of the rows that wait but for the last one's values, which the next one may
// have too.
func (b *bulk) drop() {
	copy(b.values[:b.columns], b.values[b.rows*b.columns:(1+b.rows)*b.columns])
	b.rows = 0
}

// clear lets go of all values.
func (b *bulk) clear() {
	b.rows, b.now = 0, nil
	clear(b.values[:cap(b.values)])
	clear(b.args[:cap(b.args)])
}
