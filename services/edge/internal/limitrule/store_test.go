package limitrule

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func openStore(t *testing.T, dsn string) Store {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func TestSQLite(t *testing.T) {
	testStore(t, func(t *testing.T) (Store, Store) {
		t.Helper()
		dsn := "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
		return openStore(t, dsn), openStore(t, dsn)
	})
}

func stored(tenant, name string, amount int) Stored {
	at := time.Date(2026, 5, 1, 12, 0, 0, 1000, time.UTC)
	r := Rule{Name: name, Kind: TotalTokens, By: []Dimension{ByTenant, ByUser}, Match: Match{Models: []string{"gpt-*"}}, Amount: amount, Period: time.Hour, Burst: 7, Away: AwayRefuse}
	return Stored{Owned: Owned{Rule: r, Tenant: tenant}, Author: "acme/ada", CreateTime: at, UpdateTime: at}
}

// testStore holds for every database; both stores are on the same one.
func testStore(t *testing.T, open func(t *testing.T) (one, two Store)) {
	t.Helper()
	ctx := t.Context()

	t.Run("what is kept is read", func(t *testing.T) {
		one, two := open(t)
		before, err := two.Revision(ctx)
		if err != nil {
			t.Fatal(err)
		}
		first, err := one.Put(ctx, stored("acme", "b", 1), 0)
		if err != nil || first.Version == 0 {
			t.Fatalf("%+v, %v", first, err)
		}
		if _, err := one.Put(ctx, stored("", "a", 2), AnyVersion); err != nil {
			t.Fatal(err)
		}
		later := stored("acme", "b", 3)
		later.UpdateTime = later.UpdateTime.Add(time.Hour)
		later.CreateTime = later.UpdateTime
		second, err := two.Put(ctx, later, first.Version)
		if err != nil || second.Version <= first.Version || !second.CreateTime.Equal(first.CreateTime) {
			t.Fatalf("%+v, %v", second, err)
		}
		after, err := one.Revision(ctx)
		if err != nil || after <= before {
			t.Fatalf("revision %d and then %d, %v", before, after, err)
		}
		list, err := one.List(ctx)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		got := list[1]
		if got.Tenant != "acme" || got.Amount != 3 || got.Kind != TotalTokens || got.Match.Models[0] != "gpt-*" || got.By[1] != ByUser || got.Period != time.Hour ||
			got.Burst != 7 || got.Away != AwayRefuse || got.Author != "acme/ada" || !got.UpdateTime.Equal(later.UpdateTime) || got.Version != second.Version {
			t.Errorf("%+v", got)
		}
	})

	t.Run("who saw something else is refused", func(t *testing.T) {
		one, two := open(t)
		if err := one.Delete(ctx, "acme", "a", AnyVersion); !errors.Is(err, ErrNotFound) {
			t.Errorf("there is none: %v", err)
		}
		first, err := one.Put(ctx, stored("acme", "a", 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := two.Put(ctx, stored("acme", "a", 2), 0); !errors.Is(err, ErrChanged) {
			t.Errorf("made twice: %v", err)
		}
		if _, err := two.Put(ctx, stored("other", "a", 2), 0); err != nil {
			t.Errorf("another tenant's: %v", err)
		}
		if err := two.Delete(ctx, "acme", "a", first.Version+10); !errors.Is(err, ErrChanged) {
			t.Errorf("deleted unseen: %v", err)
		}
		if err := two.Delete(ctx, "acme", "a", first.Version); err != nil {
			t.Fatal(err)
		}
		again, err := one.Put(ctx, stored("acme", "a", 1), 0)
		if err != nil || again.Version <= first.Version {
			t.Errorf("a version came again: %+v, %v", again, err)
		}
	})

	t.Run("a tenant has so many", func(t *testing.T) {
		one, _ := open(t)
		for i := range MaxRules {
			if _, err := one.Put(ctx, stored("acme", "a"+string(rune('a'+i/26))+string(rune('a'+i%26)), 1), 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := one.Put(ctx, stored("acme", "z", 1), 0); !errors.Is(err, ErrFull) {
			t.Errorf("%v", err)
		}
		if _, err := one.Put(ctx, stored("acme", "aaa", 2), AnyVersion); err != nil {
			t.Errorf("one that is there: %v", err)
		}
		if _, err := one.Put(ctx, stored("", "z", 1), 0); err != nil {
			t.Errorf("the platform: %v", err)
		}
	})

	t.Run("one made again begins anew", func(t *testing.T) {
		s, _ := open(t)
		first, err := s.Put(t.Context(), stored("", "again", 3), 0)
		if err != nil {
			t.Fatal(err)
		}
		changed := stored("", "again", 4)
		changed.CreateTime = changed.CreateTime.Add(time.Second) // of a change nobody asks
		if changed, err = s.Put(t.Context(), changed, first.Version); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "", "again", changed.Version); err != nil {
			t.Fatal(err)
		}
		again := stored("", "again", 3)
		again.CreateTime = again.CreateTime.Add(time.Minute)
		if again, err = s.Put(t.Context(), again, 0); err != nil {
			t.Fatal(err)
		}
		listed, err := s.List(t.Context())
		if err != nil || len(listed) != 1 {
			t.Fatal(listed, err)
		}
		f := &Facts{Tenant: "acme", KeyID: "k"}
		if first.bucket(f) != changed.bucket(f) || first.bucket(f) == again.bucket(f) || listed[0].bucket(f) != again.bucket(f) {
			t.Errorf("%q, changed %q, made again %q, listed %q", first.bucket(f), changed.bucket(f), again.bucket(f), listed[0].bucket(f))
		}
	})

	t.Run("edges follow", func(t *testing.T) {
		one, two := open(t)
		c := clock.NewFake(time.Now())
		engine := New(limit.NewMemory(c, 100), limit.NewSlots(limit.SlotsOptions{Clock: c}), nil)
		configured := Rule{Name: "day", Kind: Requests, Amount: 5}
		configured.Complete()
		f, err := NewFollower(ctx, two, []Rule{configured}, engine, c, slog.New(slog.DiscardHandler))
		if err != nil || engine.Idle() || len(f.List("")) != 1 {
			t.Fatalf("the configuration's is not in force: %v", err)
		}
		hidden := stored("", "day", 1)
		hidden.Disabled = true
		if _, err := one.Put(ctx, hidden, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Refresh(ctx); err != nil || !engine.Idle() {
			t.Errorf("what is disabled limits: %v", err)
		}
		if list := f.List(""); len(list) != 1 || list[0].Version == 0 || len(f.List("acme")) != 0 {
			t.Errorf("%+v", list)
		}
		if err := one.Delete(ctx, "", "day", AnyVersion); err != nil {
			t.Fatal(err)
		}
		if err := f.Refresh(ctx); err != nil || engine.Idle() {
			t.Errorf("what the configuration has does not hold again: %v", err)
		}
	})
}
