package auditcontent

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func at(s int) time.Time { return time.Date(2026, 5, 1, 12, 0, s, 0, time.UTC) }

func sqliteDSN(tb testing.TB) string {
	tb.Helper()
	return "sqlite://" + filepath.Join(tb.TempDir(), "edge.db")
}

func openDB(tb testing.TB, dsn string) *sqldb.DB {
	tb.Helper()
	db, err := schema.Open(tb.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSQLite(t *testing.T) {
	testStore(t, openDB(t, sqliteDSN(t)))
	testKeeper(t, func(t *testing.T) string { t.Helper(); return sqliteDSN(t) })
}

// testStore holds for every store.
func testStore(t *testing.T, db *sqldb.DB) {
	t.Helper()
	s := NewSQLStore(db)
	ctx := t.Context()
	if _, err := s.Tenant(ctx, "acme"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	acme := Tenant{Tenant: "acme", Enabled: true, KeyID: "k1", Master: "m1", Wrapped: "w1", UpdateTime: at(1)}
	if !must(s.SetTenant(ctx, acme))(t) || must(s.SetTenant(ctx, acme))(t) {
		t.Fatal("a change to what is no longer there is made")
	}
	got := must(s.Tenant(ctx, "acme"))(t)
	if acme.Revision = 1; got != acme {
		t.Fatalf("%+v", got)
	}
	other := Tenant{Tenant: "other", KeyID: "k2", Master: "m1", Wrapped: "w2", UpdateTime: at(1)}
	must(s.SetTenant(ctx, other))(t)
	if all := must(s.Tenants(ctx))(t); len(all) != 2 || all[0].Tenant != "acme" {
		t.Fatalf("%+v", all)
	}

	ada := DataKey{ID: "d1", Tenant: "acme", Subject: "ada", TenantKey: "k1", Wrapped: "x1", CreateTime: at(2)}
	ada = must(s.AddKey(ctx, ada))(t)
	before := must(s.Revision(ctx))(t)
	for name, k := range map[string]DataKey{
		"a second one":         {ID: "d2", Tenant: "acme", Subject: "ada", TenantKey: "k1", Wrapped: "x2", CreateTime: at(2)},
		"of another key":       {ID: "d3", Tenant: "acme", Subject: "bob", TenantKey: "k9", Wrapped: "x3", CreateTime: at(2)},
		"of nobody's tenant":   {ID: "d4", Tenant: "none", Subject: "bob", TenantKey: "k1", Wrapped: "x4", CreateTime: at(2)},
		"of another one's key": {ID: "d5", Tenant: "other", Subject: "bob", TenantKey: "k1", Wrapped: "x5", CreateTime: at(2)},
	} {
		if _, err := s.AddKey(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now := must(s.Revision(ctx))(t); now != before {
		t.Errorf("what did not change has a revision: %d, %d", before, now)
	}
	if k := must(s.Key(ctx, "acme", "ada"))(t); k != ada {
		t.Errorf("%+v", k)
	}
	must(s.AddKey(ctx, DataKey{ID: "d6", Tenant: "other", Subject: "ada", TenantKey: "k2", Wrapped: "x6", CreateTime: at(2)}))(t)

	if n := must(s.EraseSubject(ctx, "acme", "ada", at(5)))(t); n != 1 {
		t.Errorf("%d keys destroyed", n)
	}
	if _, err := s.Key(ctx, "acme", "ada"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if k := must(s.KeyByID(ctx, "d1"))(t); k.Wrapped != "" || !k.EraseTime.Equal(at(5)) {
		t.Errorf("%+v", k)
	}
	if e := must(s.Erased(ctx, "acme", "ada", at(4)))(t); !e.Equal(at(5)) {
		t.Errorf("%v", e)
	}
	if e := must(s.Erased(ctx, "acme", "ada", at(6)))(t); !e.IsZero() {
		t.Errorf("%v", e)
	}
	if k := must(s.Key(ctx, "other", "ada"))(t); k.Wrapped != "x6" {
		t.Errorf("another tenant's: %+v", k)
	}
	must(s.AddKey(ctx, DataKey{ID: "d7", Tenant: "acme", Subject: "ada", TenantKey: "k1", Wrapped: "x7", CreateTime: at(7)}))(t)
	must(s.AddKey(ctx, DataKey{ID: "d8", Tenant: "acme", Subject: "bob", TenantKey: "k1", Wrapped: "x8", CreateTime: at(7)}))(t)
	changes := must(s.KeyChanges(ctx, ada.Revision, 1))(t)
	if len(changes) != 1 || changes[0].ID != "d6" {
		t.Errorf("%+v", changes)
	}
	last := must(s.Revision(ctx))(t)
	if n := must(s.EraseTenant(ctx, "acme", at(9)))(t); n != 2 {
		t.Errorf("%d keys destroyed", n)
	}
	if changes = must(s.KeyChanges(ctx, last, 1))(t); len(changes) != 2 || changes[0].Wrapped+changes[1].Wrapped != "" {
		t.Errorf("one change is cut: %+v", changes)
	}
	if ts := must(s.TenantChanges(ctx, last, 10))(t); len(ts) != 1 || ts[0].Enabled || ts[0].Wrapped != "" || ts[0].KeyID != "" || !ts[0].EraseTime.Equal(at(9)) {
		t.Errorf("%+v", ts)
	}
	if k := must(s.Key(ctx, "other", "ada"))(t); k.Wrapped != "x6" {
		t.Errorf("another tenant's: %+v", k)
	}
}
