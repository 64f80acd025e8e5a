package store

import (
	"os"
	"reflect"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Passages keep their headings; a database from before they were kept goes on
// with its passages as they are, and going back loses nothing else.
func headingsMigrate(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	v := version("a", "one")
	v.Chunks[0].Headings = []string{"Guide", "Über > uns"}
	upsert(t, s, c, v, version("b", "two"))
	c, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	headings := func() (out [][]string) {
		t.Helper()
		for _, no := range []int64{2, 3} {
			ref := Ref{No: no}
			got, err := s.Passages(ctx, c, []Ref{ref})
			check(t, err)
			if got[ref].Chunk.Text == "" {
				t.Fatalf("version %d has no passage: %v", no, got)
			}
			out = append(out, got[ref].Chunk.Headings)
		}
		return out
	}
	if got, want := headings(), [][]string{v.Chunks[0].Headings, nil}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	dialect := goose.DialectSQLite3
	if s.db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, s.db.DB, os.DirFS("migrations/"+string(s.db.Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("search_migrations"))
	check(t, err)
	_, err = provider.DownTo(ctx, 6)
	check(t, err)
	if _, err := s.db.ExecContext(ctx, `SELECT headings FROM search_chunks`); err == nil {
		t.Error("the column is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	if got := headings(); got[0] != nil || got[1] != nil {
		t.Errorf("got %q", got)
	}
	upsert(t, s, c, version("d", "three"))
}

func TestHeadingsAreLines(t *testing.T) {
	for _, list := range [][]string{nil, {"a"}, {"a", "b c", "d"}} {
		if got := decodeHeadings(encodeHeadings(list)); !reflect.DeepEqual(got, list) {
			t.Errorf("got %q, want %q", got, list)
		}
	}
}
