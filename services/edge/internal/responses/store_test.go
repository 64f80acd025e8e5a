package responses

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func TestSQLiteStore(t *testing.T) {
	testStore(t, openStore(t, sqliteDSN(t)))
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
}

func openStore(t *testing.T, dsn string) *SQLStore {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

// testStore is what every store must do.
func testStore(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ada, eve := Owner{"acme", "ada"}, Owner{"globex", "ada"}
	put := func(o Owner, id, previous string, made time.Time, most int) {
		t.Helper()
		err := s.Put(ctx, Turn{
			ID: id, Owner: o, Previous: previous, Input: `["` + id + `"]`, Response: `{"id":"` + id + `"}`, CreateTime: made, ExpireTime: made.Add(time.Hour),
		}, most)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []string{"a", "b", "c"} {
		put(ada, id, []string{"", "a", "b"}[i], now.Add(time.Duration(i)*time.Minute), 10)
	}
	if err := s.Put(ctx, Turn{ID: "a", Owner: eve, CreateTime: now, ExpireTime: now.Add(time.Hour)}, 10); err == nil {
		t.Error("one id was kept twice")
	}
	turns, err := s.Chain(ctx, ada, "c", now, 10)
	if err != nil || len(turns) != 3 || turns[0].ID != "a" || turns[2].ID != "c" || turns[1].Input != `["b"]` || turns[2].Response != `{"id":"c"}` ||
		!turns[0].CreateTime.Equal(now) || turns[0].Owner != ada {
		t.Errorf("the chain is %+v, %v", turns, err)
	}
	if _, err := s.Chain(ctx, ada, "c", now, 2); !errors.Is(err, ErrTooLong) {
		t.Errorf("a short limit: %v", err)
	}
	put(eve, "x", "c", now, 10) // who names another's turn goes on from nothing
	for name, find := range map[string]func() error{
		"another's": func() error { _, err := s.Chain(ctx, eve, "c", now, 10); return err },
		"nobody's":  func() error { _, err := s.Chain(ctx, ada, "z", now, 10); return err },
		"expired":   func() error { _, err := s.Chain(ctx, ada, "c", now.Add(2*time.Hour), 10); return err },
		"forgotten": func() error { return s.Delete(ctx, eve, "c", now) },
	} {
		if err := find(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Chain(ctx, eve, "x", now, 10); !errors.Is(err, ErrBroken) {
		t.Errorf("from another's: %v", err)
	}
	if err := s.Delete(ctx, ada, "b", now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Chain(ctx, ada, "c", now, 10); !errors.Is(err, ErrBroken) {
		t.Errorf("with a gap: %v", err)
	}
	for i := range 4 {
		put(ada, fmt.Sprintf("n%d", i), "", now.Add(time.Duration(10+i)*time.Minute), 3)
	}
	for id, want := range map[string]error{"a": ErrNotFound, "c": ErrNotFound, "n0": ErrNotFound, "n1": nil, "n3": nil} {
		if _, err := s.Chain(ctx, ada, id, now, 10); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	if n, err := s.Purge(context.WithoutCancel(ctx), now.Add(72*time.Minute), 100); n != 3 || err != nil {
		t.Errorf("%d purged, %v", n, err) // eve's, n1 and n2 have expired
	}
	if _, err := s.Chain(ctx, ada, "n3", now, 10); err != nil {
		t.Errorf("n3: %v", err)
	}
}
