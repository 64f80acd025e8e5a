package policy

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func TestMigration(t *testing.T) {
	testMigration(t, "sqlite://"+filepath.Join(t.TempDir(), "edge.db"))
}

// testMigration: what is in force goes on, there and back.
func testMigration(t *testing.T, dsn string) {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	dialect := goose.DialectSQLite3
	if db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, db.DB, os.DirFS("../schema/migrations"),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("edge_schema_migrations"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(db)
	v := Version{Tenant: "acme", Text: closed, Digest: "d", Author: "acme/ada", Message: "why", CreateTime: time.UnixMicro(5)}
	const before, without = 22, 11
	if _, err := provider.DownTo(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateActive(t.Context(), v, AnyETag); err != nil {
		t.Fatal(err)
	}
	for range 2 { // there, back, and there again
		if _, err := provider.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Try(t.Context(), "acme", 1, 50); err != nil {
			t.Fatal(err)
		}
		for _, tenant := range []string{"acme", "globex"} { // nothing is tried for the second
			if err := s.PutReport(t.Context(), tenant, Report{Replica: "r", Version: 1, Judged: 3, Seen: []Seen{{Action: "chat"}}, UpdateTime: time.UnixMicro(7)}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.Reports(t.Context(), "acme", 1)
		if err != nil || len(r) != 1 || r[0].Judged != 3 || r[0].Seen[0].Action != "chat" || r[0].Seen[0].Replica != "r" {
			t.Fatalf("%+v, %v", r, err)
		}
		if r, err := s.Reports(t.Context(), "globex", 1); err != nil || len(r) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		changes, err := s.Changes(t.Context(), 0, 10)
		if err != nil || len(changes) != 1 || changes[0].Text != closed || changes[0].DryRun != 1 || changes[0].Version != 1 {
			t.Fatalf("%+v, %v", changes, err)
		}
		if _, err := provider.DownTo(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := provider.DownTo(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := s.State(t.Context(), "acme"); err != nil || st.ETag != 0 {
		t.Fatalf("what was dropped is back: %+v, %v", st, err)
	}
}
