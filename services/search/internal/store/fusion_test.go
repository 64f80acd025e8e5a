package store

import (
	"os"
	"reflect"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

func fusionIsTheCollections(f fixture) {
	t, s := f.t, f.s
	plain := newCollection(t, s, "plain")
	if plain.VectorMetric != "cosine" || plain.Fusion != "" || plain.Weights != nil {
		t.Errorf("nothing was said, got %+v", plain)
	}
	c, err := s.CreateCollection(t.Context(), Collection{
		Tenant: "acme", ID: "own", UID: "uid-own", EmbeddingModel: "m", Fusion: "min_max", Weights: &Weights{Lexical: 0.1, Vector: 1000},
		VectorMetric: "l2",
	}, 10)
	if err != nil || c.VectorMetric != "l2" || c.Fusion != "min_max" || c.Weights == nil || *c.Weights != (Weights{Lexical: 0.1, Vector: 1000}) {
		t.Fatalf("%+v, %v", c, err)
	}
	upsert(t, s, c, version("a", "one"))
	list, err := s.Collections(t.Context(), "acme", "", 10)
	if err != nil || len(list) != 2 || list[0].Fusion != c.Fusion || !reflect.DeepEqual(list[0].Weights, c.Weights) || list[1].Weights != nil {
		t.Errorf("%+v, %v", list, err)
	}
	gone, err := s.DeleteCollection(t.Context(), "acme", "own", Rights{All: true})
	if err != nil || gone.Fusion != c.Fusion || !reflect.DeepEqual(gone.Weights, c.Weights) {
		t.Errorf("%+v, %v", gone, err)
	}
}

// A database from before fusion could be chosen keeps its collections when it
// is brought up to date, and when it is taken back.
func fusionMigrates(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"))
	want, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	dialect := goose.DialectSQLite3
	if s.db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, s.db.DB, os.DirFS("migrations/"+string(s.db.Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("search_migrations"))
	check(t, err)
	_, err = provider.DownTo(ctx, 1)
	check(t, err)
	if _, err := s.db.ExecContext(ctx, `SELECT fusion FROM search_collections`); err == nil {
		t.Error("the column is there after going back")
	}
	// What a service from before writes.
	_, err = s.db.ExecContext(ctx, `INSERT INTO search_collections
		(tenant, id, uid, display_name, embedding_model, generation, forgotten, create_time, update_time)
		VALUES ('acme', 'old', 'uid-old', '', 'm', 1, 1, 1, 1)`)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	if got, err := s.Collection(ctx, "acme", "c"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := s.Collection(ctx, "acme", "old"); err != nil || got.Fusion != "" || got.Weights != nil || got.VectorMetric != "cosine" {
		t.Errorf("%+v, %v", got, err)
	}
	if d, err := s.Document(ctx, want, everybody(), "a"); err != nil || d.Text != "one" {
		t.Errorf("%+v, %v", d, err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
