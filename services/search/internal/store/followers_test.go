package store

import (
	"os"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Who has been seen and has no index is waited for; who ends, or is not heard of,
// is not; and nothing is kept once it serves or is gone.
func followersAreAwaited(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	g, err := s.CreateEmbeddingGeneration(ctx, c, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
	check(t, err)
	at, long := c.At(g.Number), s.clock.Now().Add(-time.Hour)
	awaited := func(since time.Time) int {
		t.Helper()
		n, err := s.Awaited(ctx, at, "self", since)
		check(t, err)
		return n
	}
	upcoming, err := s.Upcoming(ctx)
	check(t, err)
	if len(upcoming) != 1 || upcoming[0].Collection.IndexName() != at.IndexName() || upcoming[0].Ready {
		t.Errorf("%+v", upcoming)
	}
	for _, p := range []string{"self", "a", "b", "a"} {
		check(t, s.Follows(ctx, at, p, false))
	}
	if n := awaited(long); n != 2 {
		t.Errorf("%d are awaited, of two", n)
	}
	if n := awaited(s.clock.Now().Add(time.Hour)); n != 0 {
		t.Errorf("%d are awaited that were not heard of", n)
	}
	check(t, s.Follows(ctx, at, "a", true))
	check(t, s.Release(ctx, "b"))
	if n := awaited(long); n != 0 {
		t.Errorf("%d are awaited", n)
	}
	// What serves, or is not there, is nothing to wait for.
	check(t, s.Follows(ctx, c.At(1), "b", false))
	check(t, s.Follows(ctx, c.At(7), "b", false))
	check(t, s.RemoveEmbeddingGeneration(ctx, c, g.Number))
	for more := true; more; {
		more, err = s.Sweep(ctx)
		check(t, err)
	}
	var n int
	check(t, s.db.QueryRowContext(ctx, `SELECT count(*) FROM search_followers`).Scan(&n))
	if n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A database from before goes on, and back, with what is in it.
func followersMigrate(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"))
	g, err := s.CreateEmbeddingGeneration(ctx, c, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
	check(t, err)
	check(t, s.Follows(ctx, c.At(g.Number), "p", false))
	dialect := goose.DialectSQLite3
	if s.db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, s.db.DB, os.DirFS("migrations/"+string(s.db.Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("search_migrations"))
	check(t, err)
	_, err = provider.DownTo(ctx, 7)
	check(t, err)
	if _, err := s.db.ExecContext(ctx, `SELECT 1 FROM search_followers`); err == nil {
		t.Error("the table is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	check(t, s.Follows(ctx, c.At(g.Number), "p", false))
	upsert(t, s, c, version("b", "two"))
}
