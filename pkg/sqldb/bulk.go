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
			args = b.now
		}
	}
	return s.sqliteStmt.ExecContext(ctx, args)
}

// bulk is the values of several rows, and the memory of the next ones. Nobody converts
// them: they must be int64, float64, bool, []byte, string, time.Time or nil.
type bulk struct {
	row  []any // the next one's
	args []driver.NamedValue
	rows int                 // whose values are args
	now  []driver.NamedValue // those of a statement
}

// add adds row but what is fixed.
func (b *bulk) add(fixed []any) {
	for n, v := range b.row {
		if fixed[n] == nil {
			b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: v})
		}
	}
	b.rows++
}

// first has a statement get so many rows, which drop takes out.
func (b *bulk) first(rows int) *bulk {
	b.now = b.args[:len(b.args)/b.rows*rows]
	b.rows -= rows
	return b
}

func (b *bulk) drop() {
	b.args = append(b.args[:0], b.args[len(b.now):]...)
	for n := range b.args {
		b.args[n].Ordinal = n + 1
	}
}

// clear lets go of the values.
func (b *bulk) clear() {
	b.args, b.rows, b.now = b.args[:0], 0, nil
	clear(b.row[:cap(b.row)])
	clear(b.args[:cap(b.args)])
}
