package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
)

// value is what one row holds.
type value struct {
	id, number int64
	text       string
	bytes      []byte
	none       sql.NullInt64
	part       float64
	yes        bool
}

func (v *value) add(row *sqldb.Row) {
	var none any
	if v.none.Valid {
		none = v.none.Int64
	}
	var bytes any
	if v.bytes != nil {
		bytes = v.bytes
	}
	row.Number(v.id, v.number)
	row.Text(v.text)
	row.Add(bytes, none, v.part, v.yes)
}

func TestInserterKeepsEveryValue(t *testing.T) {
	testInserterValues(t, openSQLite(t), "BLOB", []string{"a\x00b", "\xff\xfe", "\x00"})
}

// testInserterValues inserts numbers of rows at and beside what one statement takes, and
// reads every value again; odd are texts that this database keeps.
func testInserterValues(t *testing.T, db *sqldb.DB, bytesType string, odd []string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, number BIGINT NOT NULL, text TEXT NOT NULL, bytes `+bytesType+`, none BIGINT, part DOUBLE PRECISION NOT NULL, yes BOOLEAN NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	inserter := db.NewInserter("kept", "id, number, text, bytes, none, part, yes", "")
	if err := inserter.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	numbers := []int64{0, -1, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1}
	texts := append([]string{"", "a", "NULL", "'; DROP TABLE kept; --", "?", "$1", "é\u2028", strings.Repeat("x", 70_000)}, odd...)
	blobs := [][]byte{nil, {0}, {0xff, 0, 0xfe}, []byte("text")}
	insert := func(rows []value) (n int, err error) {
		err = db.InTurn(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			var err error
			n, err = inserter.Insert(ctx, tx, len(rows), func(row *sqldb.Row, i int) { rows[i].add(row) })
			return err
		})
		return n, err
	}
	var all []value
	row := func() value {
		i := len(all)
		return value{
			id: int64(i), number: numbers[i%len(numbers)], text: texts[i%len(texts)], bytes: blobs[i%len(blobs)],
			none: sql.NullInt64{Int64: int64(i), Valid: i%3 > 0}, part: float64(i) / 3, yes: i%2 == 0,
		}
	}
	for _, n := range []int{1, 7, 8, 9, 31, 32, 33, 39, 40, 41, 63, 64, 65, 129} {
		from := len(all)
		for range n {
			all = append(all, row())
		}
		// One that is there already, in each place, takes all of them back.
		for _, at := range []int{0, n / 2, n - 1} {
			if from == 0 {
				break
			}
			bad := slices.Clone(all[from:])
			bad[at].id = 0
			if _, err := insert(bad); err == nil || errors.Is(err, sql.ErrTxDone) {
				t.Fatalf("%d rows, one of which is there: %v", n, err)
			}
		}
		if got, err := insert(all[from:]); err != nil || got != n {
			t.Fatalf("%d rows: %d, %v", n, got, err)
		}
	}
	// Several at once have values of their own.
	const many, each = 4, 100
	from := len(all)
	for range many * each {
		all = append(all, row())
	}
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			own := all[from+i*each : from+(i+1)*each]
			err := db.InTx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, err := inserter.Insert(ctx, tx, each, func(row *sqldb.Row, i int) { own[i].add(row) })
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rows, err := db.QueryContext(t.Context(), `SELECT id, number, text, bytes, none, part, yes FROM kept ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var got value
		if err := rows.Scan(&got.id, &got.number, &got.text, &got.bytes, &got.none, &got.part, &got.yes); err != nil {
			t.Fatal(err)
		}
		want := all[n]
		if !want.none.Valid {
			want.none = sql.NullInt64{}
		}
		if got.id != want.id || got.number != want.number || got.text != want.text || !slices.Equal(got.bytes, want.bytes) || (got.bytes == nil) != (want.bytes == nil) ||
			got.none != want.none || got.part != want.part || got.yes != want.yes {
			t.Fatalf("row %d is %.200v, want %.200v", n, got, want)
		}
	}
	if err := rows.Err(); err != nil || n != len(all) {
		t.Errorf("%d rows of %d, %v", n, len(all), err)
	}
}
