package route

import (
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// BudgetConfig says how many requests may be made again: a share of those of the last
// seconds, and some in any case. Fallbacks are not among them, since they ask somebody
// else.
type BudgetConfig struct {
	// Percent is of a tenant's requests, from 0 to 100.
	Percent float64 `yaml:"percent"`
	// MinPerSecond is how many a tenant may make in any case.
	MinPerSecond float64 `yaml:"min_per_second"`
	// Window is how long requests count.
	Window time.Duration `yaml:"window"`
}

// slices of the window.
const budgetSlots = 10

// maxTenants bounds the tenants that are counted apart; those beyond share one account.
const maxTenants = 1024

// Budget bounds retries, for each tenant on this edge, as Finagle's RetryBudget does
// (Twitter): within any window there are at most Percent of its requests, and
// MinPerSecond besides. It is safe for concurrent use.
type Budget struct {
	cfg   BudgetConfig
	clock clock.Clock
	begin time.Time

	mu      sync.Mutex
	tenants map[string]*account
	others  account
}

// account counts one tenant's requests and retries of each slot in the window.
type account struct {
	slot               int64 // the newest
	requests, retries  [budgetSlots]int
	allRequests, spent int
}

// NewBudget returns a budget.
func NewBudget(cfg BudgetConfig, c clock.Clock) *Budget {
	return &Budget{cfg: cfg, clock: c, begin: c.Now(), tenants: make(map[string]*account)}
}

// Deposit counts a request.
func (b *Budget) Deposit(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, slot := b.account(tenant)
	a.requests[slot]++
	a.allRequests++
}

// Withdraw reports whether a tenant may make a request again, which it then has.
func (b *Budget) Withdraw(tenant string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, slot := b.account(tenant)
	if float64(a.spent)+1 > b.cfg.Percent/100*float64(a.allRequests)+b.cfg.MinPerSecond*b.cfg.Window.Seconds() {
		return false
	}
	a.retries[slot]++
	a.spent++
	return true
}

// account returns a tenant's, and the present slot. The lock must be held.
func (b *Budget) account(tenant string) (*account, int) {
	now := int64(b.clock.Now().Sub(b.begin) / (b.cfg.Window / budgetSlots))
	a := b.tenants[tenant]
	if a == nil {
		if len(b.tenants) >= maxTenants {
			b.forget(now)
		}
		if a = &b.others; len(b.tenants) < maxTenants {
			a = &account{slot: now}
			b.tenants[tenant] = a
		}
	}
	a.move(now)
	return a, int(a.slot % budgetSlots)
}

// forget drops those of whom nothing is in the window. The lock must be held.
func (b *Budget) forget(now int64) {
	for tenant, a := range b.tenants {
		if now-a.slot >= budgetSlots {
			delete(b.tenants, tenant)
		}
	}
}

// move empties the slots that left the window.
func (a *account) move(now int64) {
	for range min(now-a.slot, budgetSlots) {
		a.slot++
		i := a.slot % budgetSlots
		a.allRequests, a.spent = a.allRequests-a.requests[i], a.spent-a.retries[i]
		a.requests[i], a.retries[i] = 0, 0
	}
	if now > a.slot { // further than the window is long, which is empty
		a.slot = now
	}
}
