package route

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func openStore(t *testing.T, dsn string) *SQLStore {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func TestSQLite(t *testing.T) {
	testStore(t, func(t *testing.T) (*SQLStore, *SQLStore) {
		t.Helper()
		dsn := "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
		return openStore(t, dsn), openStore(t, dsn)
	})
}

func stored(name string) Stored {
	at := time.Date(2026, 5, 1, 12, 0, 0, 1000, time.UTC)
	r := Route{
		Name: name, Priority: -3, Model: "m@v2", Match: Match{Operations: []Operation{Chat}, Headers: []HeaderMatch{{Name: "a", Prefix: "b"}}},
		Timeouts: Timeouts{FirstToken: time.Second}, Retry: Retry{Attempts: 2}, Fallback: Fallback{Models: []string{"x"}},
		Sticky: Sticky{By: ByCookie, Name: "c"}, Mirror: Mirror{Model: "y", Percent: 2.5}, Hedge: Hedge{Delay: time.Minute},
	}
	r.Complete()
	return Stored{Route: r, Author: "acme/ada", CreateTime: at, UpdateTime: at}
}

// testStore holds for every database; both stores are on the same one.
func testStore(t *testing.T, open func(t *testing.T) (one, two *SQLStore)) {
	t.Helper()
	ctx := t.Context()
	t.Run("what is kept is read", func(t *testing.T) {
		one, two := open(t)
		first, err := one.Put(ctx, stored("b"), 0)
		if err != nil || first.Version == 0 {
			t.Fatalf("%+v, %v", first, err)
		}
		if _, err := two.Put(ctx, stored("b"), 0); !errors.Is(err, ErrChanged) {
			t.Errorf("made twice: %v", err)
		}
		if _, err := two.Put(ctx, stored("a"), AnyVersion); err != nil {
			t.Fatal(err)
		}
		list, err := two.List(ctx)
		if err != nil || len(list) != 2 || !reflect.DeepEqual(list[1], first) {
			t.Fatalf("%+v, %v, want %+v", list, err, first)
		}
		if err := two.Delete(ctx, "b", first.Version+10); !errors.Is(err, ErrChanged) {
			t.Errorf("deleted unseen: %v", err)
		}
		if err := two.Delete(ctx, "b", first.Version); err != nil {
			t.Fatal(err)
		}
		if err := two.Delete(ctx, "b", AnyVersion); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		again, err := one.Put(ctx, stored("b"), 0)
		if err != nil || again.Version <= first.Version {
			t.Errorf("a version came again: %+v, %v", again, err)
		}
	})
	t.Run("there are so many", func(t *testing.T) {
		one, _ := open(t)
		var rows []string
		for i := range MaxRoutes {
			rows = append(rows, fmt.Sprintf("('a%d', %d, '{}', '', 0, 0)", i, i+1))
		}
		if _, err := one.db.ExecContext(ctx, `INSERT INTO edge_routes (name, version, route, author, create_time, update_time) VALUES `+strings.Join(rows, ",")); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Put(ctx, stored("z"), 0); !errors.Is(err, ErrFull) {
			t.Errorf("%v", err)
		}
	})
	t.Run("edges follow", func(t *testing.T) {
		one, two := open(t)
		cfg := DefaultConfig()
		cfg.Rules = []Route{stored("day").Route}
		r := New(Options{Config: cfg, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler)})
		f, err := NewFollower(ctx, two, r)
		if err != nil || r.Idle() || len(f.List()) != 1 {
			t.Fatalf("the configuration's is not in force: %v", err)
		}
		hidden := stored("day")
		hidden.Disabled = true
		if _, err := one.Put(ctx, hidden, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Refresh(ctx); err != nil || !r.Idle() || len(f.List()) != 1 {
			t.Errorf("what is disabled routes: %v", err)
		}
		if err := one.Delete(ctx, "day", AnyVersion); err != nil {
			t.Fatal(err)
		}
		if err := f.Refresh(ctx); err != nil || r.Idle() {
			t.Errorf("what the configuration has does not hold again: %v", err)
		}
	})
}
