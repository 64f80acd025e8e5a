package budget

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/ledger"
)

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
		if _, refused := errors.AsType[*RefusedError](err); refused {
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
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testAddUp(t, sqliteDSN(t), seed, 700) })
	}
}

func testAddUp(t *testing.T, dsn string, seed uint64, steps int) {
	t.Helper()
	db := openDB(t, dsn)
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 7)), clock: &hands{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)},
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
