package apikey

import (
	"os"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

// testMigration holds for every database: keys from before grants, accounts and
// named peppers go on, and survive the way back.
func testMigration(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	t.Run("keys from before", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		dialect := goose.DialectSQLite3
		if s.db.Dialect == sqldb.Postgres {
			dialect = goose.DialectPostgres
		}
		provider, err := goose.NewProvider(dialect, s.db.DB, os.DirFS("../schema/migrations"),
			goose.WithDisableGlobalRegistry(true), goose.WithTableName("edge_schema_migrations"))
		if err != nil {
			t.Fatal(err)
		}
		const before = 9
		if _, err := provider.DownTo(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		k, old := newKey(t), NewPeppers(false, firstPepper)
		_, err = s.db.ExecContext(t.Context(), `INSERT INTO edge_api_keys (id, name, tenant, subject, roles, member_of, hash,
			create_time, expire_time, revoke_time, requests_per_minute, revision) VALUES ($1, 'ci', 'acme', 'ada', '["reader"]', '[]', $2, 1, 0, 0, 60, 7)`,
			k.ID, old.Hash(k).Sum)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // there, back, and there again
			if _, err := provider.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := must(s.Get(t.Context(), k.ID))(t)
			if !r.Grant.Everything() || r.Name != "ci" || r.Roles[0] != "reader" || r.State(at(0)) != Active || r.Revision != 7 || r.Secret.Pepper != "" {
				t.Fatalf("%+v", r)
			}
			if !old.Matches(k, r.Secret) || !NewPeppers(false, secondPepper, firstPepper).Matches(k, r.Secret) {
				t.Fatal("the key holds no longer")
			}
			if l := must(s.List(t.Context(), Filter{State: Active, Now: at(0), UnusedSince: at(0), Limit: 10}))(t); len(l) != 1 {
				t.Fatalf("%+v", l)
			}
			if _, err := provider.DownTo(t.Context(), before); err != nil {
				t.Fatal(err)
			}
		}
	})
}
