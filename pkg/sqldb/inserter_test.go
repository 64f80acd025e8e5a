package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
)

func TestInserter(t *testing.T) { testInserter(t, openSQLite(t)) }

// testInserter holds for every kind of database.
func testInserter(t *testing.T, db *sqldb.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE rows_here (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	inserter := db.NewInserter("rows_here", "id, name", "ON CONFLICT (id) DO NOTHING")
	insert := func(from, to int, name any) (n int, err error) {
		t.Helper()
		if err := inserter.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = db.InTurn(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			var err error
			n, err = inserter.Insert(ctx, tx, to-from, func(dst []any, n int) []any {
				if from+n == 58 {
					return append(dst, int64(from+n), name)
				}
				return append(dst, int64(from+n), "x")
			})
			return err
		})
		return n, err
	}
	count := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM rows_here`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, err := insert(0, 0, "x"); err != nil || n != 0 {
		t.Errorf("of none: %d, %v", n, err)
	}
	if n, err := insert(0, 45, "x"); err != nil || n != 45 || count() != 45 { // by statements of each size
		t.Errorf("of 45: %d, %v", n, err)
	}
	if n, err := insert(40, 50, "x"); err != nil || n != 5 || count() != 50 {
		t.Errorf("of ten, five of which are there: %d, %v", n, err)
	}
	// One that cannot be inserted takes all of the transaction back.
	if _, err := insert(50, 60, nil); err == nil || errors.Is(err, sql.ErrTxDone) || count() != 50 {
		t.Errorf("with a row that cannot be: %v, %d rows", err, count())
	}
	if n, err := insert(50, 60, "x"); err != nil || n != 10 || count() != 60 {
		t.Errorf("after that: %d, %v", n, err)
	}
}
