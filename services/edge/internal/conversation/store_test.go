package conversation_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func openStore(t *testing.T, dsn string) *conversation.SQLStore {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return conversation.NewSQLStore(db)
}

func sqlite(t *testing.T) *conversation.SQLStore {
	t.Helper()
	return openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "edge.db"))
}

func TestSQLiteStore(t *testing.T) { testStore(t, sqlite(t), true) }

// testStore is what every store must do. Redis forgets by its own clock, and what
// has expired by now is not in it.
func testStore(t *testing.T, s conversation.Store, purges bool) {
	t.Helper()
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Microsecond)
	ada, bob, eve := conversation.Owner{Tenant: "acme", Subject: "ada"}, conversation.Owner{Tenant: "acme", Subject: "bob"}, conversation.Owner{Tenant: "globex", Subject: "ada"}
	at := func(id string, version int64, i int) conversation.Record {
		made := now.Add(time.Duration(i) * time.Second)
		return conversation.Record{ID: id, Version: version, CreateTime: now, UpdateTime: made, ExpireTime: now.Add(time.Hour), Body: fmt.Sprintf(`{"n":%d}`, i), Turns: int64(i), Summarized: 2}
	}
	write := func(o conversation.Owner, r conversation.Record, before int64, want error) {
		t.Helper()
		if err := s.Write(ctx, o, r, before, 3); !errors.Is(err, want) {
			t.Errorf("write %s: %v, want %v", r.ID, err, want)
		}
	}
	write(ada, at("b", 10, 1), 0, nil)
	write(ada, at("b", 10, 1), 0, conversation.ErrConflict)
	write(ada, at("b", 12, 2), 9, conversation.ErrConflict)
	write(ada, at("b", 11, 2), 10, nil)
	write(ada, at("z", 7, 2), 6, conversation.ErrConflict) // it was deleted
	write(eve, at("b", 20, 9), 0, nil)
	write(bob, at("b", 30, 8), 0, nil)
	if r, err := s.Read(ctx, ada, "b", now); err != nil || r.Version != 11 || r.Body != `{"n":2}` || r.Turns != 2 || r.Summarized != 2 || !r.CreateTime.Equal(now) ||
		!r.UpdateTime.Equal(now.Add(2*time.Second)) || !r.ExpireTime.Equal(now.Add(time.Hour)) || r.ID != "b" {
		t.Errorf("read %+v, %v", r, err)
	}
	for name, err := range map[string]error{
		"nobody's":  func() error { _, err := s.Read(ctx, ada, "x", now); return err }(),
		"expired":   func() error { _, err := s.Read(ctx, ada, "b", now.Add(time.Hour)); return err }(),
		"another's": s.Delete(ctx, conversation.Owner{Tenant: "acme", Subject: "eve"}, "b", now),
	} {
		if !errors.Is(err, conversation.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(ada, at("a", 1, 3), 0, nil)
	write(ada, at("c", 1, 4), 0, nil)
	write(ada, at("d", 1, 5), 0, nil) // b rests longest
	ids := func(o conversation.Owner, after string, limit int) string {
		t.Helper()
		list, err := s.List(ctx, o, after, limit, now)
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, r := range list {
			if out += r.ID; r.Body != "" {
				t.Errorf("a list has bodies")
			}
		}
		return out
	}
	if all, page, other := ids(ada, "", 10), ids(ada, "a", 1), ids(eve, "", 10); all != "acd" || page != "c" || other != "b" {
		t.Errorf("lists are %q, %q and %q", all, page, other)
	}
	if err := s.Delete(ctx, ada, "a", now); err != nil || ids(ada, "", 10) != "cd" {
		t.Errorf("deleted: %v", err)
	}
	if n, err := s.DeleteAll(ctx, "acme", "bob"); n != 1 || err != nil {
		t.Errorf("a subject's: %d, %v", n, err)
	}
	if n, err := s.DeleteAll(ctx, "acme", ""); n != 2 || err != nil {
		t.Errorf("a tenant's: %d, %v", n, err)
	}
	if ids(eve, "", 10) != "b" {
		t.Error("another tenant's is gone")
	}
	n, err := s.Purge(ctx, now.Add(time.Hour), 10)
	if err != nil || purges && n != 1 {
		t.Errorf("%d purged, %v", n, err)
	}
}

// Of many who write at once on what they read, one is first, and nothing is lost by
// those who read again.
func TestSQLiteConcurrentWrites(t *testing.T) { testConcurrent(t, sqlite(t)) }

func testConcurrent(t *testing.T, s conversation.Store) {
	t.Helper()
	o, now := conversation.Owner{Tenant: "acme", Subject: "ada"}, time.Now().UTC()
	const writers, each = 3, 4
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for done := 0; done < each; {
				r, err := s.Read(t.Context(), o, "c", now)
				if err != nil && !errors.Is(err, conversation.ErrNotFound) {
					t.Error(err)
					return
				}
				before := r.Version
				r.ID, r.Version, r.Turns, r.CreateTime, r.UpdateTime, r.ExpireTime = "c", before+1, r.Turns+1, now, now, now.Add(time.Hour)
				switch err := s.Write(t.Context(), o, r, before, 10); {
				case err == nil:
					done++
				case !errors.Is(err, conversation.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if r, err := s.Read(t.Context(), o, "c", now); err != nil || r.Turns != writers*each {
		t.Errorf("%d turns of %d, %v", r.Turns, writers*each, err)
	}
}
