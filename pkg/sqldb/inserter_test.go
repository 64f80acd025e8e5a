package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
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
			n, err = inserter.Insert(ctx, tx, to-from, func(row *sqldb.Row, n int) {
				if row.Number(int64(from + n)); from+n == 58 {
					row.Add(name)
				} else {
					row.Text("x")
				}
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

// Who gives up an insertion has none of it.
func TestInserterGivesUp(t *testing.T) {
	db := openSQLite(t)
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE given_up (id INTEGER NOT NULL PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	inserter := db.NewInserter("given_up", "id", "")
	if err := inserter.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	err := db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := inserter.Insert(ctx, tx, 1000, func(row *sqldb.Row, n int) {
			if row.Number(int64(n)); n == 50 {
				cancel()
			}
			asked = n
		})
		return err
	})
	if !errors.Is(err, context.Canceled) || asked > 100 {
		t.Errorf("%v after %d rows", err, asked)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM given_up`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// The end of a call's time closes its statements beside who runs them: that they are closed
// is not why it fails.
func TestAClosedStatementIsOfTheEndOfTime(t *testing.T) {
	db := openSQLite(t)
	closed := errors.New("sql: statement is closed")
	ctx, cancel := context.WithCancel(t.Context())
	err := db.InTurn(ctx, func(context.Context, *sql.Tx) error {
		cancel()
		return closed
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, closed) {
		t.Errorf("%v", err)
	}
	if err := db.InTurn(t.Context(), func(context.Context, *sql.Tx) error { return closed }); err != closed { //nolint:errorlint // that one, and nothing beside it
		t.Errorf("with time left: %v", err)
	}
}

func TestInserterOfShortRows(t *testing.T) { testShortRows(t, openSQLite(t)) }

// testShortRows holds for every kind of database: whether a value stands in the text of a
// statement, is there once for all its rows, or once for each, a row is as it was given.
func testShortRows(t *testing.T, db *sqldb.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE short_rows (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, number BIGINT NOT NULL, data BYTEA, owner TEXT NOT NULL, part BIGINT)`); err != nil {
		t.Fatal(err)
	}
	inserter := db.NewInserter("short_rows", "id, name, number, data, owner, part", "ON CONFLICT (id) DO NOTHING").
		Mostly("", "name").Mostly(int64(0), "number").Alike("owner", "number", "part")
	if err := inserter.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	row := func(n int) (name string, number int64, data []byte) {
		if data = nil; n%5 == 0 {
			data = []byte{byte(n)}
		}
		if n%7 == 3 {
			name = fmt.Sprint("n", n)
		}
		if n%11 == 4 {
			number = int64(n)
		}
		return name, number, data
	}
	// Of the first rows many follow each other that are alike in these, and of the last none.
	shared := func(n int) (owner string, part sql.NullInt64) {
		if owner = "ada"; n > 90 {
			owner = fmt.Sprint("o", n%3)
		}
		return owner, sql.NullInt64{Int64: int64(n / 120), Valid: n >= 40}
	}
	const rows = 300
	for _, batch := range [][2]int{{0, 0}, {0, 1}, {3, 4}, {0, 150}, {100, rows}} {
		err := db.InTurn(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := inserter.Insert(ctx, tx, batch[1]-batch[0], func(r *sqldb.Row, n int) {
				n += batch[0]
				name, number, data := row(n)
				r.Number(int64(n))
				r.Text(name)
				r.Number(number)
				if data == nil {
					r.Add(nil)
				} else {
					r.Add(data)
				}
				owner, part := shared(n)
				if r.Text(owner); part.Valid {
					r.Number(part.Int64)
				} else {
					r.Add(nil)
				}
			})
			return err
		})
		if err != nil {
			t.Fatalf("%v: %v", batch, err)
		}
	}
	for n := range rows {
		var name string
		var number int64
		var data []byte
		var owner string
		var part sql.NullInt64
		if err := db.QueryRowContext(t.Context(), `SELECT name, number, data, owner, part FROM short_rows WHERE id = $1`, n).
			Scan(&name, &number, &data, &owner, &part); err != nil {
			t.Fatal(n, err)
		}
		if wantOwner, wantPart := shared(n); owner != wantOwner || part != wantPart {
			t.Errorf("%d: %q, %v", n, owner, part)
		}
		if wantName, wantNumber, wantData := row(n); name != wantName || number != wantNumber || !bytes.Equal(data, wantData) {
			t.Errorf("%d: %q, %d, %v", n, name, number, data)
		}
	}
}
