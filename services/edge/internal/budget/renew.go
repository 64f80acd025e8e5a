package budget

import (
	"context"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

const (
	// tickEvery is how often what this edge holds is renewed, and what it does not need
	// given back.
	tickEvery = time.Second
	// idleTicks is after how many of them without a request an account is forgotten.
	idleTicks = 10
)

// Tick tells the ledger what this edge holds, gives back what is not needed, and sees
// how the budgets stand.
func (k *Keeper) Tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.TTL/3)
	defer cancel()
	var asks []ledger.Ask
	var out []ledger.Standing
	var now time.Time
	return k.Turn(ctx, func(ctx context.Context) error {
		now = k.d.Clock.Now()
		if asks = k.giveBack(now); len(asks) == 0 {
			return nil
		}
		var err error
		out, err = k.d.Ledger.Renew(ctx, k.d.Holder, asks, now, now.Add(k.cfg.TTL))
		return err
	}, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for i, ask := range asks {
			a := k.accounts[ask.Period]
			a.until, a.others = now.Add(k.trusted()), out[i].Held-ask.Held
			a.settled = out[i].Settled
		}
	})
}

// giveBack takes from the accounts what they do not need, and returns what is held
// from then on. If the ledger is not told, this edge has less than it believes.
func (k *Keeper) giveBack(now time.Time) (asks []ledger.Ask) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p, a := range k.accounts {
		a.lapse(now)
		keep := 2 * a.wanted
		if a.recall {
			keep, a.recall = 0, false
		}
		a.free = max(min(a.free, keep), 0) // a debt is what was used without being held: now it is
		if a.wanted == 0 {
			a.idle++
		} else {
			a.idle, a.wanted = 0, 0
		}
		if a.idle > idleTicks && a.held() == 0 && a.reserved == 0 {
			delete(k.accounts, p)
			continue
		}
		ask := ledger.Ask{Period: p, Limit: a.budget.Amount}
		if a.budget.Hard {
			ask.Held = a.held()
		}
		asks = append(asks, ask)
	}
	slices.SortFunc(asks, func(x, y ledger.Ask) int { return compare(x.Period, y.Period) })
	return asks
}

func compare(x, y ledger.Period) int {
	if x.Budget != y.Budget {
		return sign(x.Budget - y.Budget)
	}
	return sign(x.Start - y.Start)
}

func sign(n int64) int { return int(min(max(n, -1), 1)) }

// Component renews what this edge holds, and gives all of it back at the end. failed
// is told of renewals that failed.
func (k *Keeper) Component(failed func(ctx context.Context, err error)) lifecycle.Component {
	return lifecycle.Component{
		Name: "budgets",
		Run: func(ctx context.Context) error {
			for ctx.Err() == nil {
				timer := k.d.Clock.NewTimer(tickEvery)
				select {
				case <-timer.C():
				case <-k.wake:
				case <-ctx.Done():
				}
				timer.Stop()
				if ctx.Err() == nil {
					if err := k.Tick(ctx); err != nil && ctx.Err() == nil {
						failed(ctx, err)
					}
				}
			}
			return nil
		},
		Stop: func(ctx context.Context) error {
			if err := k.d.Ledger.Release(ctx, k.d.Holder); err != nil {
				failed(ctx, err)
			}
			return nil // what is not given back is free again when it expires
		},
	}
}
