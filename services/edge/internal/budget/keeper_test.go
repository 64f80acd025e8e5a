package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// request is a request of the model: what it reserved, and what it will use.
type request struct {
	id       string
	r        *Reservation
	reserved int64
}

// edge is an edge of the test: its keeper, its requests in hand, and what it has in
// its journal.
type edge struct {
	keeper  *Keeper
	holder  string
	inHand  []request
	journal []ledger.Entry
}

// world is two edges that share a store, and what must be true of both.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	clock   *hands
	store   *ledger.SQLStore
	budget  Budget
	edges   []*edge
	dead    []*edge // killed; their journals are brought in later
	settled map[string]int64
	written []ledger.Entry
	made    int
	refused int
}

func (w *world) entry(q request, used int64) ledger.Entry {
	e := ledger.Entry{ID: q.id, Time: w.clock.now, Outcome: ledger.Whole, Dimensions: ledger.Dimensions{Tenant: "acme", Model: "chat", Kind: "generate"}}
	e.Output = used
	e.Charges = q.r.Settle(Need{Tokens: used})
	w.settled[q.id] = used
	return e
}

func (w *world) flush(e *edge, entries []ledger.Entry) {
	w.t.Helper()
	if len(entries) == 0 {
		return
	}
	err := e.keeper.Turn(w.t.Context(), func(ctx context.Context) error {
		_, err := w.store.Write(ctx, e.holder, entries)
		return err
	}, func() { e.keeper.Written(entries) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.written = append(w.written, entries...)
}

// step is one thing that may happen.
func (w *world) step() {
	e := w.edges[w.rnd.IntN(len(w.edges))]
	switch n := w.rnd.IntN(100); {
	case n < 40: // a request begins
		need := 1 + w.rnd.Int64N(40)
		r, err := e.keeper.Reserve(w.t.Context(), []Budget{w.budget}, Need{Tokens: need}, false)
		var refused *RefusedError
		if errors.As(err, &refused) {
			w.refused++
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.made++
		e.inHand = append(e.inHand, request{id: fmt.Sprintf("r%d", w.made), r: r, reserved: need})
	case n < 80 && len(e.inHand) > 0: // one ends: whole, in part, or with nothing
		i := w.rnd.IntN(len(e.inHand))
		q := e.inHand[i]
		e.inHand = append(e.inHand[:i], e.inHand[i+1:]...)
		used := w.rnd.Int64N(q.reserved + 1)
		if used == 0 {
			q.r.Settle(Need{})
			return
		}
		e.journal = append(e.journal, w.entry(q, used))
		q.r.Settle(Need{Tokens: 1000}) // again: it counts once
	case n < 90: // what has ended is written
		w.flush(e, e.journal)
		e.journal = nil
	case n < 92 && len(w.written) > 0: // and again
		if _, err := w.store.Write(w.t.Context(), e.holder, w.written[max(len(w.written)-5, 0):]); err != nil {
			w.t.Fatal(err)
		}
	case n < 97: // time passes
		w.clock.now = w.clock.now.Add(time.Duration(w.rnd.Int64N(int64(2 * time.Second))))
		for _, e := range w.edges {
			if err := e.keeper.Tick(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	case n < 98: // an edge is killed
		w.kill(e)
	case len(w.dead) > 0: // and its journal brought in late
		w.revive()
	}
}

func (w *world) kill(e *edge) {
	for i, other := range w.edges {
		if other == e {
			w.dead = append(w.dead, e)
			holder := fmt.Sprintf("edge-%d-%d", i, w.rnd.Int64())
			w.edges[i] = &edge{holder: holder, keeper: newKeeper(w.store, holder, w.clock)}
			w.edges[i].keeper.Use([]Budget{w.budget})
		}
	}
	if w.rnd.IntN(2) == 0 { // what it held expires before its journal comes
		w.clock.now = w.clock.now.Add(ttl + time.Second)
		for _, e := range w.edges {
			if err := e.keeper.Tick(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) revive() {
	e := w.dead[0]
	w.dead = w.dead[1:]
	entries := e.journal
	for _, q := range e.inHand { // as engines had counted by then
		if used := w.rnd.Int64N(q.reserved + 1); used > 0 {
			entry := w.entry(q, used)
			entry.Outcome = ledger.Recovered
			entries = append(entries, entry)
		}
	}
	if len(entries) > 0 {
		if _, err := w.store.Write(w.t.Context(), e.holder, entries); err != nil {
			w.t.Fatal(err)
		}
		w.written = append(w.written, entries...)
	}
	if err := w.store.Release(w.t.Context(), e.holder); err != nil {
		w.t.Fatal(err)
	}
}

// check compares the store with what must be true.
func (w *world) check() ledger.Standing {
	w.t.Helper()
	var want int64
	for _, e := range w.written {
		want += w.settled[e.ID]
	}
	st, err := w.store.Standings(w.t.Context(), []ledger.Period{{Budget: w.budget.UID}}, w.clock.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if st[0].Settled != want {
		w.t.Fatalf("settled is %d, want %d", st[0].Settled, want)
	}
	for _, e := range w.edges { // what an edge holds is what the store knows of it
		e.keeper.mu.Lock()
		for _, a := range e.keeper.accounts {
			if a.reserved < 0 || a.spent < 0 || w.clock.now.Before(a.until) && a.free < 0 {
				w.t.Fatalf("an account is %+v", a)
			}
		}
		e.keeper.mu.Unlock()
	}
	return st[0]
}

// Whatever happens in whatever order, every request counts once, the budget is never
// exceeded by requests that keep to what they reserved as long as no edge is killed,
// and at the end nothing is reserved.
func TestBudgetsAddUp(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testAddUp(t, sqliteDSN(t), seed, 1500) })
	}
}

func testAddUp(t *testing.T, dsn string, seed uint64, steps int) {
	t.Helper()
	db := openDB(t, dsn)
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 7)), clock: &hands{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}, //nolint:gosec // repeatable
		store: ledger.NewSQLStore(db), settled: make(map[string]int64),
		budget: Budget{UID: 1, Tenant: "acme", ID: "all", Scope: Tenant, Every: Total, Unit: Tokens, Amount: int64(steps) * 5 / 2, Hard: true},
	}
	for i := range 2 {
		e := &edge{holder: fmt.Sprintf("edge-%d", i)}
		e.keeper = newKeeper(w.store, e.holder, w.clock)
		e.keeper.Use([]Budget{w.budget})
		w.edges = append(w.edges, e)
	}
	killed := false
	for range steps {
		w.step()
		killed = killed || len(w.dead) > 0
		if st := w.check(); !killed && st.Settled+st.Held > w.budget.Amount {
			t.Fatalf("%+v of %d", st, w.budget.Amount)
		}
	}
	for len(w.dead) > 0 {
		w.revive()
	}
	for _, e := range w.edges {
		for _, q := range e.inHand {
			e.journal = append(e.journal, w.entry(q, q.reserved))
		}
		w.flush(e, e.journal)
		e.inHand, e.journal = nil, nil
	}
	for range 2 { // what was wanted until now is kept for one more
		for _, e := range w.edges {
			if err := e.keeper.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := w.check(); st.Held != 0 {
		t.Errorf("%d is reserved at the end", st.Held)
	}
	if w.made < steps/10 || w.refused == 0 {
		t.Errorf("%d requests, %d refused", w.made, w.refused)
	}
	report, err := w.store.Check(t.Context(), w.clock.now.AddDate(0, 0, -1), w.clock.now.Add(time.Hour))
	if err != nil || report.Count != 0 {
		t.Errorf("%+v, %v", report, err)
	}
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
