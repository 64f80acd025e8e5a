package store_test

import (
	"os"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// A database from before variants keeps what it holds when it is brought up to
// date, and when it is taken back.
func (s suite) variantMigration(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	e.model("n")
	e.version("n", 1)
	_, err := e.SetAlias(ctx, "", "m", "production", 2, "")
	check(t, err)
	old := []*registryv1.ModelState{e.state("m"), e.state("n")}
	counted := []int64{e.versionBytes("m"), e.versionBytes("n")}
	same := func(when string) {
		t.Helper()
		for i, model := range []string{"m", "n"} {
			if got := e.state(model); !proto.Equal(got, old[i]) {
				t.Errorf("%s: %v\nwant %v", when, got, old[i])
			}
			if got := e.versionBytes(model); got != counted[i] {
				t.Errorf("%s: %d bytes of %s are counted, want %d", when, got, model, counted[i])
			}
		}
	}

	provider := e.migrations()
	_, err = provider.DownTo(ctx, 1)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	same("up from a database without variants")

	e.add("m", "q8", 1, perplexities(11, 10, ""))
	v := storetest.Variant(t, "m", "q4", 2)
	_, err = e.CreateVariant(ctx, "", number(2), v)
	check(t, err)
	if e.versionBytes("m") <= counted[0] {
		t.Error("the variants are not counted")
	}
	_, err = provider.DownTo(ctx, 1)
	check(t, err)
	_, err = e.raw().ExecContext(ctx, `SELECT 1 FROM registry_variants`)
	if err == nil {
		t.Error("the table is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	same("down and up again")
	_, err = provider.DownTo(ctx, 0)
	check(t, err)
}

// A database from before evidence keeps what it holds when it is brought up to
// date, and when it is taken back.
func (s suite) evidenceMigration(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.version("m", 1)
	old := e.state("m")
	e.report(e.batch("r", 1, 1, counted("m", "a", 3, 1)))
	provider := e.migrations()
	// Newer tables of others may hold on to what is older, so that they go first.
	_, err := provider.DownTo(ctx, 6)
	check(t, err)
	if _, err := e.raw().ExecContext(ctx, `SELECT 1 FROM registry_outcomes`); err == nil {
		t.Error("the table is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	if got := e.state("m"); !proto.Equal(got, old) {
		t.Errorf("down and up again: %v\nwant %v", got, old)
	}
	if n := e.requests("m", "a", time.Time{}); n != 0 {
		t.Errorf("%d requests are counted", n)
	}
	e.report(e.batch("r", 1, 1, counted("m", "a", 3, 1)))
	if n := e.requests("m", "a", time.Time{}); n != 3 {
		t.Errorf("%d requests are counted", n)
	}
}

// migrations moves the database from one schema to another.
func (e *env) migrations() *goose.Provider {
	e.t.Helper()
	dialect := goose.DialectSQLite3
	if e.raw().Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, e.raw().DB, os.DirFS("migrations/"+string(e.raw().Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("registry_migrations"))
	return must(e.t, provider, err)
}

// What was written before there were tables to find it by is found by them, is
// counted as it is sent, and is numbered on.
func (s suite) metadataMigration(t *testing.T) {
	ctx := t.Context()
	e := newEnv(t, s.databases, store.Options{})
	provider := e.migrations()
	_, err := provider.DownTo(ctx, 2)
	check(t, err)
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := e.raw().ExecContext(ctx, query, args...)
		check(t, err)
	}
	exec(`INSERT INTO registry_models (name, display_name, labels, version_count, version_bytes, create_time, update_time)
		VALUES ('m', 'M', '{"team":"search"}', 2, 1000, 1, 2), ('bare', '', 'null', 0, 0, 3, 4)`)
	for n := 1; n <= 2; n++ {
		v := storetest.Version(t, "m", n)
		raw, err := proto.Marshal(v.GetSpec())
		check(t, err)
		exec(`INSERT INTO registry_versions (model, number, digest, spec, description, create_time) VALUES ('m', $1, $2, $3, 'é', 5)`,
			n, v.GetDigest(), raw)
	}
	variant := storetest.Variant(t, "m", "q4", 9)
	raw, err := proto.Marshal(variant.GetSpec())
	check(t, err)
	exec(`INSERT INTO registry_variants (model, version, name, digest, spec, description, bytes, create_time)
		VALUES ('m', 1, 'q4', $1, $2, '', 400, 6)`, variant.GetDigest(), raw)

	_, err = provider.Up(ctx)
	check(t, err)
	e.Store = e.open()
	models, err := e.FindModels(ctx, store.Query{Filter: parse(t, `labels.team = "search"`), Limit: 9})
	check(t, err)
	versions, err := e.FindVersions(ctx, "m", store.Query{Filter: parse(t, `engine = "sim" AND task = "chat"`), Limit: 9})
	check(t, err)
	if len(models) != 1 || len(versions) != 2 || len(versions[1].GetVariants()) != 1 {
		t.Errorf("found %v and %v", models, versions)
	}
	st := e.state("m")
	if counted := e.versionBytes("m"); counted < int64(proto.Size(st.GetVersions()[0])+proto.Size(st.GetVersions()[1])) {
		t.Errorf("%d bytes are counted of %v", counted, st)
	}
	if v := e.version("m", 3); v.GetNumber() != 3 {
		t.Errorf("the next version has number %d", v.GetNumber())
	}
	check(t, e.DeleteVersion(ctx, "", "m", number(3)))
	check(t, e.DeleteModel(ctx, "", "bare"))

	// An older program knows nothing of deletion: what is hidden goes.
	_, err = provider.DownTo(ctx, 2)
	check(t, err)
	var left, count int
	check(t, e.raw().QueryRowContext(ctx, `SELECT (SELECT count(*) FROM registry_versions), (SELECT max(version_count) FROM registry_models)`).
		Scan(&left, &count))
	if left != 2 || count != 3 {
		t.Errorf("going back left %d versions, numbered on from %d", left, count)
	}
	_, err = provider.Up(ctx)
	check(t, err)
	if v, err := e.GetVersion(ctx, "m", number(1)); err != nil || len(v.GetVariants()) != 1 {
		t.Errorf("up again: %v, %v", v, err)
	}
}
