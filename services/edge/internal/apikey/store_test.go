package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func at(seconds int) time.Time { return time.Date(2026, 5, 1, 12, 0, seconds, 123000, time.UTC) }

func record(id string) Record {
	return Record{
		ID: id, Name: "ci", Tenant: "acme", Subject: "ada", Roles: []string{"developer", "reader"},
		Groups: []string{"ops"}, Secret: Hash{Sum: "00ff", Pepper: "p1"}, CreateTime: at(0), RequestsPerMinute: 60,
	}
}

func openSQL(t *testing.T, dsn string) *SQLStore {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "edge.db")
}

func TestSQLiteStore(t *testing.T) {
	testStore(t, sqliteDSN)
	testStoreOfGrants(t, sqliteDSN)
	testMigration(t, sqliteDSN)
}

// testStore holds for every store; dsn returns an empty one.
func testStore(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	ok := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("create and get", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		want := record("a")
		want.ExpireTime = at(100)
		created, err := s.Create(t.Context(), want)
		ok(t, err)
		want.Revision = 1
		if !reflect.DeepEqual(created, want) {
			t.Fatalf("created %+v", created)
		}
		got, err := s.Get(t.Context(), "a")
		ok(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if _, err := s.Create(t.Context(), want); !errors.Is(err, ErrExists) {
			t.Fatalf("the same id again: %v", err)
		}
		if _, err := s.Get(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("a key that is not there: %v", err)
		}
		if r, err := s.Revision(t.Context()); r != 1 || err != nil {
			t.Fatalf("a refused change left revision %d, %v", r, err)
		}
	})
	t.Run("revoke", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		_, err := s.Create(t.Context(), record("a"))
		ok(t, err)
		first, err := s.Revoke(t.Context(), "a", at(10))
		ok(t, err)
		if !first.RevokeTime.Equal(at(10)) || first.Revision != 2 {
			t.Fatalf("revoked: %+v", first)
		}
		again, err := s.Revoke(t.Context(), "a", at(20))
		ok(t, err)
		if !reflect.DeepEqual(again, first) {
			t.Fatalf("revoked again: %+v", again)
		}
		if _, err := s.Revoke(t.Context(), "b", at(20)); !errors.Is(err, ErrNotFound) {
			t.Fatalf("a key that is not there: %v", err)
		}
	})
	t.Run("list by pages", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		for i := range 5 {
			r := record(fmt.Sprintf("k%d", i))
			if i == 2 {
				r.Tenant = "globex"
			}
			_, err := s.Create(t.Context(), r)
			ok(t, err)
		}
		ids := func(f Filter) (out []string) {
			recs, err := s.List(t.Context(), f)
			ok(t, err)
			for _, r := range recs {
				out = append(out, r.ID)
			}
			return out
		}
		for _, c := range []struct {
			filter Filter
			want   []string
		}{
			{Filter{Limit: 10}, []string{"k0", "k1", "k2", "k3", "k4"}},
			{Filter{Limit: 2}, []string{"k0", "k1"}},
			{Filter{Limit: 2, After: "k1"}, []string{"k2", "k3"}},
			{Filter{Limit: 10, Tenant: "acme", After: "k0"}, []string{"k1", "k3", "k4"}},
			{Filter{Limit: 10, Tenant: "globex"}, []string{"k2"}},
			{Filter{Limit: 10, Tenant: "nobody"}, nil},
		} {
			if got := ids(c.filter); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v: got %v, want %v", c.filter, got, c.want)
			}
		}
	})
	t.Run("changes in their order", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		for _, id := range []string{"a", "b", "c"} {
			_, err := s.Create(t.Context(), record(id))
			ok(t, err)
		}
		_, err := s.Revoke(t.Context(), "a", at(1))
		ok(t, err)
		got, err := s.Changes(t.Context(), 1, 10)
		ok(t, err)
		if len(got) != 3 || got[0].ID != "b" || got[1].ID != "c" || got[2].ID != "a" {
			t.Fatalf("changes: %+v", got)
		}
		if r, err := s.Revision(t.Context()); r != 4 || err != nil {
			t.Fatalf("revision %d, %v", r, err)
		}
	})
	t.Run("no change is missed by who reads on", func(t *testing.T) {
		where := dsn(t)
		writers := []*SQLStore{openSQL(t, where), openSQL(t, where)}
		reader := openSQL(t, where)
		var wg sync.WaitGroup
		for w, s := range writers {
			for g := range 2 {
				wg.Go(func() {
					for i := range 10 {
						if _, err := s.Create(t.Context(), record(fmt.Sprintf("w%d-%d-%d", w, g, i))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		seen, last := make(map[string]bool), int64(0)
		for running := true; running; {
			select {
			case <-done:
				running = false // and read once more
			default:
			}
			changes, err := reader.Changes(t.Context(), last, 7)
			ok(t, err)
			for _, r := range changes {
				seen[r.ID], last = true, r.Revision
			}
			if len(changes) == 7 {
				running = true
			}
		}
		if len(seen) != 40 {
			t.Fatalf("the reader saw %d of 40 changes", len(seen))
		}
	})
	t.Run("exactly one first key", func(t *testing.T) {
		where := dsn(t)
		var created, asked atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			s := openSQL(t, where)
			wg.Go(func() {
				ok, err := s.CreateFirst(t.Context(), record(fmt.Sprintf("r%d", i)), func() error { asked.Add(1); return nil })
				if err != nil {
					t.Error(err)
				}
				if ok {
					created.Add(1)
				}
			})
		}
		wg.Wait()
		if created.Load() != 1 || asked.Load() != 1 {
			t.Fatalf("%d created, %d asked", created.Load(), asked.Load())
		}
	})
	t.Run("no first key when it cannot be written down", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		full := errors.New("the disk is full")
		if ok, err := s.CreateFirst(t.Context(), record("a"), func() error { return full }); ok || !errors.Is(err, full) {
			t.Fatalf("%v, %v", ok, err)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Fatal("a key that nobody can know is there")
		}
		if ok, err := s.CreateFirst(t.Context(), record("b"), func() error { return nil }); !ok || err != nil {
			t.Fatalf("the next try: %v, %v", ok, err)
		}
	})
	t.Run("an ended request is an error and no answer", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Get(ctx, "a"); err == nil || errors.Is(err, ErrNotFound) {
			t.Fatalf("%v", err)
		}
	})
}
