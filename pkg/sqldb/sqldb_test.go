package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
)

// open returns a database of its own for the test.
type open func(t *testing.T) *sqldb.DB

func openSQLite(t *testing.T) *sqldb.DB {
	t.Helper()
	return openDSN(t, "sqlite://"+filepath.Join(t.TempDir(), "a b.db"))
}

func openDSN(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig(dsn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var migrations = fstest.MapFS{ //nolint:gochecknoglobals // read only
	"sqlite/0001_a.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);\n")},
	"sqlite/0002_b.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE b (id TEXT PRIMARY KEY, a INTEGER NOT NULL REFERENCES a (id));\n")},
	"postgres/0001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);\n")},
	"postgres/0002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id TEXT PRIMARY KEY, a BIGINT NOT NULL REFERENCES a (id));\n")},
}

func migrate(t *testing.T, db *sqldb.DB) {
	t.Helper()
	if err := db.Migrate(t.Context(), migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

func TestSQLite(t *testing.T) { suite(t, openSQLite) }

// suite is what holds for every dialect.
func suite(t *testing.T, open open) {
	t.Helper()
	t.Run("migrates once", func(t *testing.T) {
		db := open(t)
		migrate(t, db)
		migrate(t, db)
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM schema_migrations WHERE version_id > 0").Scan(&n); err != nil || n != 2 {
			t.Fatalf("%d migrations, %v", n, err)
		}
		broken := fstest.MapFS{"0003_c.sql": {Data: []byte("-- +goose Up\nCREATE NONSENSE;\n")}}
		if err := db.Migrate(t.Context(), broken, slog.New(slog.DiscardHandler), sqldb.WithTable("other")); err == nil {
			t.Fatal("a broken migration was applied")
		}
	})
	t.Run("constraints", func(t *testing.T) {
		db := open(t)
		migrate(t, db)
		exec := func(q string, args ...any) error {
			_, err := db.ExecContext(t.Context(), q, args...)
			return err
		}
		if err := exec("INSERT INTO a (id, n) VALUES ($1, $2)", 1, 2); err != nil {
			t.Fatal(err)
		}
		if err := exec("INSERT INTO a (id, n) VALUES ($1, $2)", 1, 2); !sqldb.IsUnique(err) || sqldb.IsForeignKey(err) || sqldb.IsRetryable(err) {
			t.Fatalf("twice: %v", err)
		}
		if err := exec("INSERT INTO b (id, a) VALUES ($1, $2)", "x", 99); !sqldb.IsForeignKey(err) || sqldb.IsUnique(err) {
			t.Fatalf("without its row: %v", err)
		}
		var n int
		if err := db.Reader().QueryRowContext(t.Context(), "SELECT n FROM a WHERE id = $1", 1).Scan(&n); err != nil || n != 2 {
			t.Fatalf("read %d, %v", n, err)
		}
	})
	t.Run("rolls back", func(t *testing.T) {
		db := open(t)
		migrate(t, db)
		boom := errors.New("boom")
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO a (id, n) VALUES ($1, $2)", 1, 0); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("InTx = %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = db.InTx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				_, _ = tx.ExecContext(ctx, "INSERT INTO a (id, n) VALUES ($1, $2)", 2, 0)
				panic("oops")
			})
		}()
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM a").Scan(&n); err != nil || n != 0 {
			t.Fatalf("%d rows, %v", n, err)
		}
	})
	t.Run("no increment is lost", func(t *testing.T) {
		db := open(t)
		migrate(t, db)
		if _, err := db.ExecContext(t.Context(), "INSERT INTO a (id, n) VALUES (1, 0)"); err != nil {
			t.Fatal(err)
		}
		const writers, each = 4, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if err := db.InTx(t.Context(), increment); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT n FROM a WHERE id = 1").Scan(&n); err != nil || n != writers*each {
			t.Fatalf("n = %d, want %d: %v", n, writers*each, err)
		}
	})
}

// TestInSnapshot holds for SQLite what suite cannot say of both dialects alike.
func TestInSnapshot(t *testing.T) {
	db := openSQLite(t)
	migrate(t, db)
	err := db.InSnapshot(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		count := func() (n int, err error) {
			err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM a").Scan(&n)
			return n, err
		}
		if n, err := count(); err != nil || n != 0 {
			return fmt.Errorf("before: %d, %w", n, err)
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO a (id, n) VALUES (1, 1)"); err != nil {
			return err
		}
		if n, err := count(); err != nil || n != 0 {
			return fmt.Errorf("the snapshot changed: %d, %w", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// increment reads and then writes, which loses updates unless it is isolated.
func increment(ctx context.Context, tx *sql.Tx) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT n FROM a WHERE id = 1").Scan(&n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE a SET n = $1 WHERE id = 1", n+1)
	return err
}

func TestSQLiteReaderDoesNotWaitAndCannotWrite(t *testing.T) {
	db := openSQLite(t)
	migrate(t, db)
	err := db.InTx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO a (id, n) VALUES (1, 1)"); err != nil {
			return err
		}
		var n int // the writer holds its lock
		if err := db.Reader().QueryRowContext(ctx, "SELECT COUNT(*) FROM a").Scan(&n); err != nil || n != 0 {
			return fmt.Errorf("read %d, %w", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Reader().ExecContext(t.Context(), "DELETE FROM a"); err == nil {
		t.Fatal("the reader wrote")
	}
	var mode string
	if err := db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Fatalf("journal mode %q, %v", mode, err)
	}
}

func TestSQLiteTwoProcesses(t *testing.T) {
	dsn := "sqlite://" + filepath.Join(t.TempDir(), "x.db")
	a, b := openDSN(t, dsn), openDSN(t, dsn)
	migrate(t, a)
	migrate(t, b)
	if _, err := a.ExecContext(t.Context(), "INSERT INTO a (id, n) VALUES (1, 0)"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, db := range []*sqldb.DB{a, b} {
		wg.Go(func() {
			for range 25 {
				if err := db.InTx(t.Context(), increment); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := a.QueryRowContext(t.Context(), "SELECT n FROM a WHERE id = 1").Scan(&n); err != nil || n != 50 {
		t.Fatalf("n = %d, %v", n, err)
	}
}

func TestDSN(t *testing.T) {
	for dsn, want := range map[string]sqldb.Dialect{
		"sqlite:///var/lib/x.db": sqldb.SQLite, "sqlite:x.db": sqldb.SQLite, "sqlite:/x.db": sqldb.SQLite,
		"postgres://u:p@h:1/d?sslmode=disable": sqldb.Postgres, "postgresql://h/d": sqldb.Postgres,
	} {
		if got, err := sqldb.DialectOf(dsn); err != nil || got != want {
			t.Errorf("%s: %s, %v", dsn, got, err)
		}
	}
	for _, dsn := range []string{"", "x.db", "mysql://hunter2", "sqlite:", "sqlite://rel.db", "sqlite:///x.db?mode=rw", "sqlite::memory:", "postgres:hunter2", "postgres://u:hunter2@h:port/d", "postgres://hunter2\x7f"} {
		_, err := sqldb.DialectOf(dsn)
		if err == nil {
			t.Errorf("%q was taken", dsn)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats a secret: %v", dsn, err)
		}
	}
	_, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("postgres://u:hunter2@127.0.0.1:1/d?sslmode=nonsense"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open = %v", err)
	}
	var p config.Problems
	sqldb.Config{DSN: "postgres://u:hunter2@h:port/d", Sync: "x"}.Validate(&p, "store")
	if err := p.Err(); err == nil || strings.Count(err.Error(), "\n") != 4 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Validate = %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("sqlite:///no/such/directory/x.db")); err == nil {
		t.Error("a file in no directory was opened")
	}
	if _, err := sqldb.Open(t.Context(), sqldb.DefaultConfig("postgres://u:hunter2@127.0.0.1:1/d")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open of nothing = %v", err)
	}
}

// A service may be started in a directory that others can read.
func TestSQLiteFilesAreTheOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openDSN(t, "sqlite://"+path)
	migrate(t, db)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for d, want := range map[sqldb.Dialect]string{sqldb.SQLite: "(?, ?, ?), (?, ?, ?)", sqldb.Postgres: "($1, $2, $3), ($4, $5, $6)"} {
		if got := d.Places(2, 3); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// A transaction whose time was over before it was committed says that.
func TestAnEndedContextIsToldOfTheCommit(t *testing.T) {
	db := openSQLite(t)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.InTx(ctx, func(_ context.Context, tx *sql.Tx) error {
			cancel()
			for {
				if _, err := tx.ExecContext(t.Context(), "SELECT 1"); errors.Is(err, sql.ErrTxDone) {
					return nil
				}
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("commit says %v", err)
		}
	}
}
