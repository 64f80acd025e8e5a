package outage_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/search/internal/outage"
)

type pgError string

func (e pgError) Error() string    { return "pg " + string(e) }
func (e pgError) SQLState() string { return string(e) }

// A full disk is told as one: somebody has to make room.
func TestAFullDiskIsNamed(t *testing.T) {
	for err, want := range map[error]bool{
		&fs.PathError{Op: "write", Err: syscall.ENOSPC}: true,
		&fs.PathError{Op: "write", Err: syscall.EDQUOT}: true,
		pgError("53100"): true,
		pgError("53300"): false,
		&fs.PathError{Op: "write", Err: syscall.EIO}: false,
	} {
		e := apierr.From(outage.Of(fmt.Errorf("search: %w", err)))
		if strings.Contains(e.Message, "is full") != want || e.RetryAfter == 0 {
			t.Errorf("%v is told as %+v", err, e)
		}
	}
}

func TestWhatIsAnOutage(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		store bool // told by Of
		index bool // told by OfIndex
	}{
		"nothing":            {nil, false, false},
		"disk full":          {&fs.PathError{Op: "write", Err: syscall.ENOSPC}, true, true},
		"I/O error":          {&fs.PathError{Op: "read", Err: syscall.EIO}, true, true},
		"a fault":            {errors.New("index out of range"), false, true},
		"no such file":       {&fs.PathError{Op: "open", Err: syscall.ENOENT}, false, true},
		"PostgreSQL full":    {pgError("53100"), true, true},
		"PostgreSQL ending":  {pgError("57P01"), true, true},
		"PostgreSQL's wrong": {pgError("42601"), false, true},
		"no PostgreSQL":      {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true, true},
		"a lost connection":  {driver.ErrBadConn, true, true},
		"cancelled":          {context.Canceled, false, false},
		"too late":           {context.DeadlineExceeded, false, false},
		"told already":       {apierr.New(apierr.NotFound, "no"), false, false},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("search: %w", err)
		}
		for which, got := range map[string]struct {
			err  error
			want bool
		}{"Of": {outage.Of(err), tc.store}, "OfIndex": {outage.OfIndex(err), tc.index}} {
			if outage.Is(got.err) != got.want || got.want != (apierr.ReasonOf(got.err) == apierr.Unavailable) {
				t.Errorf("%s: %s gives %v", name, which, got.err)
			}
			if !errors.Is(got.err, tc.err) {
				t.Errorf("%s: %s loses the cause of %v", name, which, got.err)
			}
		}
	}
}

func TestAFullDatabaseIsAnOutage(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("sqlite://"+filepath.Join(t.TempDir(), "truth.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	err = db.InTx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, q := range []string{"CREATE TABLE t (b BLOB)", "PRAGMA max_page_count = 4", "INSERT INTO t VALUES (zeroblob(1000000))"} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	})
	if got := outage.Of(err); !outage.Is(got) {
		t.Errorf("%v gives %v", err, got)
	}
	if _, err := db.ExecContext(t.Context(), "SELECT nonsense FROM nowhere"); err == nil || outage.Is(outage.Of(err)) {
		t.Errorf("a fault of ours: %v", outage.Of(err))
	}
}
