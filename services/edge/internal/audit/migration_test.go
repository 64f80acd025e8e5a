package audit

import (
	"crypto/sha256"
	"os"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

func provider(t *testing.T, db *sqldb.DB) *goose.Provider {
	t.Helper()
	dialect := goose.DialectSQLite3
	if db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, db.DB, os.DirFS("../schema/migrations"),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("edge_schema_migrations"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exec(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// checkRecordsSurviveTheWayBack: records from before chains, from before contents and
// from now go the whole way down and up; what a version cannot hold ends with it.
func checkRecordsSurviveTheWayBack(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := provider(t, sink.db)
	down := func(version int64) {
		t.Helper()
		if _, err := p.DownTo(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	up := func() {
		t.Helper()
		if _, err := p.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want int) {
		t.Helper()
		if recs, err := sink.List(t.Context(), Query{Limit: 100}); err != nil || len(recs) != want {
			t.Fatalf("%d records, %v", len(recs), err)
		}
	}

	down(11) // before policies, chains and contents
	exec(t, sink.db, `INSERT INTO edge_audit (time_us, id, request_id, tenant, subject, key_id, method, resource, decision, reason,
		duration_us, address, served_by, arm, prompt_tokens, completion_tokens, experiment)
		VALUES (1, 'old', 'r', 'acme', 'ada', '', '/m', '', 'allowed', '', 1, '', '', '', 1, 2, '')`)
	up()
	count(1)
	exec(t, sink.db, `INSERT INTO edge_policy_versions (tenant, version, document, digest, author, message, create_time)
		VALUES ('acme', 1, '{}', 'd', 'a', 'm', 1)`)
	exec(t, sink.db, `INSERT INTO edge_policies (tenant, version, dry_run_version, dry_run_percent, etag, revision) VALUES ('acme', 1, 0, 0, 1, 1)`)

	proven := begin(t, sink, t.TempDir(), "a", nil)
	proven.add(t, 0, 5)
	sealed := Sealed{Record: "with", Tenant: "acme", Subject: "ada", Key: "k", Time: at(9), Data: []byte("sealed")}
	rec := sample(9)
	rec.ID, rec.Content = "with", sha256.Sum256(sealed.Data)
	if err := proven.AppendWith(t.Context(), &rec, &sealed); err != nil {
		t.Fatal(err)
	}
	proven.sign(t)
	if r := proven.verify(t); r.Found != 0 || r.Unchained != 1 {
		t.Fatalf("%+v", r)
	}

	down(14) // contents end, records stay
	up()
	count(7)
	if _, err := sink.Content(t.Context(), "with"); err == nil {
		t.Error("the content survived its table")
	}
	r := proven.verify(t)
	for _, f := range r.Findings {
		if f.Kind != "removed" || f.ID != "with" { // the content, and nothing else
			t.Errorf("%+v", f)
		}
	}
	down(13) // chains end
	up()
	count(7)
	down(11) // policies end
	up()
	count(7)
	var policies int
	if err := sink.db.QueryRowContext(t.Context(), `SELECT count(*) FROM edge_policies`).Scan(&policies); err != nil || policies != 0 {
		t.Errorf("%d, %v", policies, err)
	}
}
