package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// hands is a clock that stands until it is moved.
type hands struct {
	clock.Clock
	now time.Time
}

func (h *hands) Now() time.Time { return h.now }

func openDB(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + t.TempDir() + "/edge.db"
}

const ttl = 30 * time.Second

func newKeeper(store Ledger, holder string, c clock.Clock) *Keeper {
	return NewKeeper(Config{TTL: ttl, Timeout: 5 * time.Second, Zone: time.UTC}, Deps{Ledger: store, Holder: holder, Clock: c})
}

// Without kills a budget is used up to the last token, and never further.
func TestABudgetIsUsedUpAndNoMore(t *testing.T) {
	store := ledger.NewSQLStore(openDB(t, sqliteDSN(t)))
	c := &hands{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	b := Budget{UID: 1, Tenant: "acme", ID: "all", Scope: Tenant, Every: Day, Unit: Tokens, Amount: 1000, Hard: true}
	keepers := []*Keeper{newKeeper(store, "a", c), newKeeper(store, "b", c)}
	var held int64
	for i := 0; held < b.Amount; i++ {
		k := keepers[i%2]
		r, err := k.Reserve(t.Context(), []Budget{b}, Need{Tokens: 10}, false)
		var refused *RefusedError
		switch {
		case errors.As(err, &refused): // the other one holds what is left, until it gives it back
			c.now = c.now.Add(time.Second)
			for range 2 {
				for _, k := range keepers {
					if err := k.Tick(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		case err != nil:
			t.Fatal(err)
		default:
			held += 10
			_ = r
		}
		if i > 1000 {
			t.Fatalf("only %d of %d were reserved", held, b.Amount)
		}
	}
	for _, k := range keepers {
		if _, err := k.Reserve(t.Context(), []Budget{b}, Need{Tokens: 1}, false); err == nil {
			t.Error("more than the budget was reserved")
		}
	}
	c.now = c.now.AddDate(0, 0, 1)
	if _, err := keepers[0].Reserve(t.Context(), []Budget{b}, Need{Tokens: 900}, false); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// away is a ledger that does not answer.
type away struct{ Ledger }

func (away) Acquire(context.Context, string, ledger.Ask, time.Time, time.Time) (int64, ledger.Standing, error) {
	return 0, ledger.Standing{}, errors.New("no route to host")
}

func (away) Renew(context.Context, string, []ledger.Ask, time.Time, time.Time) ([]ledger.Standing, error) {
	return nil, errors.New("no route to host")
}

func TestTheLedgerIsAway(t *testing.T) {
	store := ledger.NewSQLStore(openDB(t, sqliteDSN(t)))
	c := &hands{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	b := Budget{UID: 1, Tenant: "acme", ID: "all", Scope: Tenant, Every: Total, Unit: Tokens, Amount: 10_000, Hard: true}
	k := newKeeper(store, "a", c)
	reserve := func(n int64, force bool) (*Reservation, error) {
		return k.Reserve(t.Context(), []Budget{b}, Need{Tokens: n}, force)
	}
	if _, err := reserve(10, false); err != nil {
		t.Fatal(err)
	}
	k.d.Ledger = away{store}
	if _, err := reserve(10, false); err != nil {
		t.Errorf("what this edge holds: %v", err)
	}
	if _, err := reserve(5000, false); !errors.Is(err, ErrAway) {
		t.Errorf("more than it holds: %v", err)
	}
	c.now = c.now.Add(ttl) // others may have what it held
	if _, err := reserve(1, false); !errors.Is(err, ErrAway) {
		t.Errorf("after its time: %v", err)
	}
	r, err := reserve(7, true)
	if err != nil || !r.Forced() {
		t.Fatalf("by force: %v", err)
	}
	charges := r.Settle(Need{Tokens: 5})
	k.d.Ledger = store
	e := ledger.Entry{ID: "e", Time: c.now, Outcome: ledger.Whole, Charges: charges}
	if err := k.Turn(t.Context(), func(ctx context.Context) error { _, err := store.Write(ctx, "a", []ledger.Entry{e}); return err },
		func() { k.Written([]ledger.Entry{e}) }); err != nil {
		t.Fatal(err)
	}
	if err := k.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := store.Standings(t.Context(), []ledger.Period{{Budget: 1}}, c.now)
	if err != nil || st[0].Settled != 5 || st[0].Held != 20 { // two requests are still in hand
		t.Errorf("%+v, %v", st, err)
	}
}

func TestWarningsAndScopes(t *testing.T) {
	store := ledger.NewSQLStore(openDB(t, sqliteDSN(t)))
	c := &hands{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	k := newKeeper(store, "a", c)
	k.Use([]Budget{
		{UID: 1, Tenant: "acme", ID: "all", Scope: Tenant, Every: Month, Unit: Tokens, Amount: 100, Warnings: []int32{50, 90}},
		{UID: 2, Tenant: "acme", ID: "lab", Scope: Team, Name: "lab", Every: Month, Unit: Money, Amount: 100, Hard: true},
		{UID: 3, Tenant: "acme", ID: "key", Scope: Key, Name: "k1", Every: Total, Unit: Tokens, Amount: 100},
		{UID: 4, Tenant: "other", ID: "all", Scope: Tenant, Every: Month, Unit: Tokens, Amount: 1, Hard: true},
	})
	ids := func(c Caller) (out []int64) {
		for _, b := range k.Of(c) {
			out = append(out, b.UID)
		}
		return out
	}
	for _, q := range []struct {
		caller Caller
		want   string
	}{
		{Caller{Tenant: "acme"}, "[1]"},
		{Caller{Tenant: "acme", KeyID: "k1", Principals: []string{"user:lab", "group:lab", "group:lab", "role:lab"}}, "[1 2 3]"},
		{Caller{Tenant: "acme", KeyID: "k2", Principals: []string{"user:lab", "lab"}}, "[1]"},
		{Caller{Tenant: "nobody", KeyID: "k1", Principals: []string{"group:lab"}}, "[]"},
	} {
		if got := fmt.Sprint(ids(q.caller)); got != q.want {
			t.Errorf("%+v has %s, want %s", q.caller, got, q.want)
		}
	}
	budgets := k.Of(Caller{Tenant: "acme"})
	levels := func(used int64) string {
		r, err := k.Reserve(t.Context(), budgets, Need{Tokens: 1000}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Settle(Need{Tokens: used})
		out := ""
		for _, l := range r.Levels() {
			out += fmt.Sprint(l.Percent, " ", l.Warning, " ", l.First)
		}
		return out
	}
	for i, q := range []struct {
		used int64
		want string
	}{{49, ""}, {1, ""}, {0, "50 50 true"}, {45, "50 50 false"}, {500, "95 90 true"}, {0, "595 90 false"}} {
		if got := levels(q.used); got != q.want {
			t.Errorf("%d: %q, want %q", i, got, q.want)
		}
	}
}
