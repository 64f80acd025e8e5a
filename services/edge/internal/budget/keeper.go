package budget

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

// Ledger is where all edges take of budgets.
type Ledger interface {
	Acquire(ctx context.Context, holder string, a ledger.Ask, now, expire time.Time) (int64, ledger.Standing, error)
	Renew(ctx context.Context, holder string, held []ledger.Ask, now, expire time.Time) ([]ledger.Standing, error)
	Release(ctx context.Context, holder string) error
}

// ErrAway says that the ledger does not answer, and that this edge holds too little
// itself.
var ErrAway = errors.New("budget: the ledger does not answer")

// RefusedError says that a budget has too little left.
type RefusedError struct {
	Budget Budget
	// Settled is what is used up of it, and Held what requests in hand have reserved,
	// or edges hold for the next ones.
	Settled, Held int64
	// Rest is what a request could have had: some of what is held is this edge's to give.
	Rest int64
	// Need is what the request may come to.
	Need int64
	// Resets is when the period ends; the zero time: never.
	Resets time.Time
}

// Never reports whether the request may come to more than the whole budget, so that
// waiting does not help.
func (e *RefusedError) Never() bool { return e.Need > e.Budget.Amount }

// InHand reports whether there is enough besides what requests in hand have reserved
// and edges hold, of which some may come back at any time.
func (e *RefusedError) InHand() bool { return e.Need <= e.Budget.Amount-e.Settled }

func (e *RefusedError) Error() string { return "budget: too little is left of " + e.Budget.ID }

// Config is how an edge takes of budgets.
type Config struct {
	// TTL is how long what this edge holds is kept from the others after it was last
	// heard of.
	TTL time.Duration
	// Timeout bounds the wait for the ledger.
	Timeout time.Duration
	// Zone is where days and months begin.
	Zone *time.Location
}

// Deps is what a Keeper works with; all of it is needed.
type Deps struct {
	Ledger Ledger
	// Holder is this process's name among all that take of budgets.
	Holder string
	Clock  clock.Clock
}

// Keeper holds parts of budgets for the requests of this edge. It is safe for
// concurrent use.
//
// Of each budget it holds free + reserved + spent: what the next requests may have,
// what those in hand have, and what those before used that the store has not counted
// yet. Their sum is what the store knows that it holds, and changes in a turn only.
type Keeper struct {
	cfg  Config
	d    Deps
	set  atomic.Pointer[set]
	turn chan struct{} // held by whoever changes what this process holds
	wake chan struct{} // somebody wants a tick soon

	mu       sync.Mutex
	accounts map[ledger.Period]*account
}

// account is a budget in one period, as far as this edge goes.
type account struct {
	budget                Budget
	free, reserved, spent int64
	until                 time.Time // what is free may be used until then
	settled, others       int64     // as the store was last seen: used up, and held by others
	wanted                int64     // since the last tick
	idle                  int       // ticks in which nothing was wanted
	recall                bool      // what is free goes back
	warned                int32     // the highest warning that was told
	refused               int64     // what the ledger had too little for, until refusedUntil
	refusedUntil          time.Time
}

func (a *account) held() int64 { return a.free + a.reserved + a.spent }

// lapse has what is free no longer count once others may have taken it.
func (a *account) lapse(now time.Time) {
	if !now.Before(a.until) {
		a.free = min(a.free, 0)
	}
}

// NewKeeper returns a keeper that knows of no budget.
func NewKeeper(cfg Config, d Deps) *Keeper {
	k := &Keeper{cfg: cfg, d: d, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), accounts: make(map[ledger.Period]*account)}
	k.set.Store(newSet(nil))
	return k
}

// Use has these budgets be in force.
func (k *Keeper) Use(budgets []Budget) {
	next := newSet(budgets)
	k.set.Store(next)
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, a := range k.accounts {
		b, ok := next.byUID[p.Budget]
		if ok && b.Amount == a.budget.Amount && b.Hard == a.budget.Hard {
			a.budget = b
			continue
		}
		if ok {
			a.budget, a.warned = b, 0
		}
		a.recall = true
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Of returns the budgets that count a caller's use.
func (k *Keeper) Of(c Caller) []Budget { return k.set.Load().of(c) }

// Find returns a budget by its number.
func (k *Keeper) Find(uid int64) (Budget, bool) {
	b, ok := k.set.Load().byUID[uid]
	return b, ok
}

// Turn runs fn while nothing else changes what this process holds, and then after.
func (k *Keeper) Turn(ctx context.Context, fn func(ctx context.Context) error, after func()) error {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := fn(ctx); err != nil {
		return err
	}
	after()
	return nil
}

// account returns a budget's account at a time; the lock must be held.
func (k *Keeper) account(b Budget, now time.Time) (ledger.Period, *account) {
	p := ledger.Period{Budget: b.UID, Start: b.Start(now, k.cfg.Zone)}
	a, ok := k.accounts[p]
	if !ok {
		a = &account{budget: b}
		k.accounts[p] = a
	}
	return p, a
}

// take reserves n of a budget for a request.
func (k *Keeper) take(ctx context.Context, b Budget, n int64) (ledger.Period, error) {
	k.mu.Lock()
	now := k.d.Clock.Now()
	p, a := k.account(b, now)
	a.wanted += n
	if !b.Hard || a.take(n, now) {
		k.mu.Unlock()
		return p, nil
	}
	if now.Before(a.refusedUntil) && n-a.free >= a.refused {
		err := a.refusal(n, now, k.cfg.Zone)
		k.mu.Unlock()
		return p, err
	}
	k.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	err := k.Turn(bounded, func(ctx context.Context) error { return k.acquire(ctx, p, a, n) }, func() {})
	var refused *RefusedError
	switch {
	case err == nil || errors.As(err, &refused):
		return p, err
	case ctx.Err() != nil: // who asked has left
		return p, context.Cause(ctx)
	default:
		return p, errors.Join(ErrAway, err)
	}
}

// take has a request have n, if there is enough.
func (a *account) take(n int64, now time.Time) bool {
	if a.free < n || !now.Before(a.until) {
		return false
	}
	a.free -= n
	a.reserved += n
	return true
}

// acquireTries is how often more is asked for when others in this edge take what
// came: they do so without a turn.
const acquireTries = 4

// acquire takes n for a request, and more for the next ones, from the ledger.
func (k *Keeper) acquire(ctx context.Context, p ledger.Period, a *account, n int64) error {
	for range acquireTries {
		k.mu.Lock()
		now := k.d.Clock.Now()
		if a.take(n, now) {
			k.mu.Unlock()
			return nil
		}
		a.lapse(now)
		ask := ledger.Ask{
			Period: p, Limit: a.budget.Amount, Held: a.held(), Need: n - a.free, Extra: max(advance*n, 2*a.wanted),
		}
		k.mu.Unlock()
		granted, st, err := k.d.Ledger.Acquire(ctx, k.d.Holder, ask, now, now.Add(k.cfg.TTL))
		if err != nil {
			return err
		}
		k.mu.Lock()
		a.free += granted
		a.until, a.settled, a.others = now.Add(k.trusted()), st.Settled, st.Held-ask.Held-granted
		var refused error
		if granted == 0 && ask.Need > 0 {
			a.refused, a.refusedUntil = ask.Need, now.Add(refusedFor)
			refused = a.refusal(n, now, k.cfg.Zone)
		}
		k.mu.Unlock()
		if refused != nil {
			return refused
		}
	}
	return errors.New("budget: others take what this request needs")
}

// refusal says that there is too little for n; the lock must be held.
func (a *account) refusal(n int64, now time.Time, zone *time.Location) error {
	return &RefusedError{
		Budget: a.budget, Settled: a.settled + a.spent, Held: max(a.others+a.free+a.reserved, 0), Need: n, Resets: a.budget.End(now, zone),
		Rest: max(a.budget.Amount-a.settled-a.spent-a.others-a.reserved, 0),
	}
}

// refusedFor is how long it is believed that too little is left: who keeps asking
// does not keep the store busy.
const refusedFor = 250 * time.Millisecond

// advance is how many requests like this one are provided for at once, at least.
const advance = 8

// trusted is how long this edge may use what it holds after it was last heard of:
// clocks differ, and others count the whole TTL.
func (k *Keeper) trusted() time.Duration { return k.cfg.TTL * 2 / 3 }
