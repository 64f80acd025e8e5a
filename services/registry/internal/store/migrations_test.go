package store_test

import (
	"os"
	"testing"

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

// migrations takes the database up and down.
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
