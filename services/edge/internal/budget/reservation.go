package budget

import (
	"context"
	"errors"

	"github.com/poterne/poterne/services/edge/internal/ledger"
)

// Need is what a request may come to in each unit.
type Need struct{ Money, Tokens int64 }

func (n Need) in(u Unit) int64 {
	if u == Money {
		return n.Money
	}
	return n.Tokens
}

// Reservation is what a request has of the budgets that count it. Its methods are
// called by one goroutine at a time.
type Reservation struct {
	keeper *Keeper
	parts  []part
}

type part struct {
	period  ledger.Period
	budget  Budget
	amount  int64
	forced  bool
	settled bool
}

// Reserve takes from every one of budgets what a request may come to, or from none: a
// *RefusedError says which has too little, ErrAway that it cannot be told. With force
// what cannot be told is taken all the same, and counted later.
func (k *Keeper) Reserve(ctx context.Context, budgets []Budget, need Need, force bool) (*Reservation, error) {
	r := &Reservation{keeper: k, parts: make([]part, 0, len(budgets))}
	for _, b := range budgets {
		n := max(need.in(b.Unit), 0)
		p, err := k.take(ctx, b, n)
		forced := err != nil && force && errors.Is(err, ErrAway)
		if err != nil && !forced {
			r.Settle(Need{})
			return nil, err
		}
		if forced {
			k.force(p, n)
		}
		r.parts = append(r.parts, part{period: p, budget: b, amount: n, forced: forced})
	}
	return r, nil
}

// force reserves what this edge does not hold: a debt, which the next renewal tells
// the ledger of.
func (k *Keeper) force(p ledger.Period, n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a, ok := k.accounts[p]; ok {
		a.free -= n
		a.reserved += n
	}
}

// Forced reports whether any of it was taken without the ledger.
func (r *Reservation) Forced() bool {
	for _, p := range r.parts {
		if p.forced {
			return true
		}
	}
	return false
}

// Each calls fn with every budget and what was taken of it.
func (r *Reservation) Each(fn func(b Budget, amount int64)) {
	if r == nil {
		return
	}
	for _, p := range r.parts {
		fn(p.budget, p.amount)
	}
}

// Charges returns what the request has of each budget, with no amounts.
func (r *Reservation) Charges() []ledger.Charge {
	if r == nil || len(r.parts) == 0 {
		return nil
	}
	out := make([]ledger.Charge, len(r.parts))
	for i, p := range r.parts {
		out[i] = ledger.Charge{Period: p.period, Money: p.budget.Unit == Money}
	}
	return out
}

// Settle counts what was used, and gives back the rest. What was used beyond what
// was reserved counts as well. It returns what counts against each budget; only the
// first call counts. What is returned must reach the ledger, and then Written.
func (r *Reservation) Settle(used Need) []ledger.Charge {
	if r == nil {
		return nil
	}
	out := r.Charges()
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	for i := range r.parts {
		p := &r.parts[i]
		n := max(used.in(p.budget.Unit), 0)
		out[i].Amount = n
		a, ok := r.keeper.accounts[p.period]
		if !ok || p.settled {
			continue
		}
		p.settled = true
		if p.budget.Hard {
			a.reserved -= p.amount
			a.free += p.amount - n
			a.spent += n
		} else {
			a.settled += n // nothing is held of it; the store is told by the entry
		}
	}
	return out
}

// Written is told, within a turn, that the store has counted charges.
func (k *Keeper) Written(entries []ledger.Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range entries {
		for _, c := range e.Charges {
			if a, ok := k.accounts[c.Period]; ok {
				n := min(a.spent, c.Amount) // 0 where the budget was not hard when it was reserved
				a.spent -= n
				a.settled += n
			}
		}
	}
}

// Level is how far a budget is used up.
type Level struct {
	Budget Budget
	// Percent is how much of the amount is used, as far as this edge knows.
	Percent int32
	// Warning is the highest of the budget's warnings that this is at, or 0. First says
	// that this edge tells it for the first time in the period.
	Warning int32
	First   bool
}

// Levels returns the budgets of the reservation that are at a warning.
func (r *Reservation) Levels() (out []Level) {
	k := r.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range r.parts {
		a, ok := k.accounts[p.period]
		if !ok || len(p.budget.Warnings) == 0 {
			continue
		}
		l := Level{Budget: p.budget, Percent: percent(a.settled+a.spent, p.budget.Amount)}
		for _, w := range p.budget.Warnings {
			if l.Percent >= w {
				l.Warning = w
			}
		}
		if l.Warning == 0 {
			continue
		}
		if l.Warning > a.warned {
			a.warned, l.First = l.Warning, true
		}
		out = append(out, l)
	}
	return out
}

// percent is at most 999.
func percent(used, of int64) int32 {
	const most = 999
	switch {
	case used <= 0:
		return 0
	case of <= 0 || used/of >= 10:
		return most
	case of > 1<<50:
		return int32(min(used/(of/100), most))
	default:
		return int32(min(used*100/of, most))
	}
}
