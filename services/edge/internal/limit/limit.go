// Package limit admits requests at a bounded rate by key. It knows no request,
// tenant or header of its own accord: who is limited and by how much is handed
// in. Start reading at Limiter; GCRA is the arithmetic that both the in-process
// and the Redis implementation follow, and one suite of tests holds both to it.
package limit

import (
	"context"
	"errors"
	"time"
)

// Limit is how much a key may have.
type Limit struct {
	// Requests is what a key may have in each Period, refilled evenly; at least 1.
	Requests int
	// Period is the time in which Requests are refilled; positive.
	Period time.Duration
	// Burst is what may come at once after a rest; 0 means Requests.
	Burst int
}

// PerMinute returns a limit of n requests a minute, all of which may come at
// once.
func PerMinute(n int) Limit { return Limit{Requests: n, Period: time.Minute} }

func (l Limit) burst() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return l.Requests
}

// interval is the time in which one request is refilled, rounded up so that
// the rate is never exceeded.
func (l Limit) interval() time.Duration {
	n := time.Duration(l.Requests)
	return (l.Period + n - 1) / n
}

func (l Limit) check(cost int) error {
	if l.Requests < 1 || l.Period <= 0 || l.Burst < 0 || cost < 0 {
		return errors.New("limit: requests and period must be positive, burst and cost not negative")
	}
	return nil
}

// Decision is the answer to one request.
type Decision struct {
	// Allowed says whether the request may go on; only then was its cost taken.
	Allowed bool
	// Limit is what was applied.
	Limit Limit
	// Remaining is how much could still come at once.
	Remaining int
	// ResetAfter is how long until the whole burst is there again.
	ResetAfter time.Duration
	// RetryAfter is how long a refused request should wait; 0 when allowed.
	RetryAfter time.Duration
	// Local says that the shared store was away, so that this replica decided
	// alone: other replicas admit as much again.
	Local bool
}

// Limiter decides whether a key may have cost more now. A cost of 0 takes
// nothing and tells what is left. Implementations are safe for concurrent use.
type Limiter interface {
	Allow(ctx context.Context, key string, cost int, limit Limit) (Decision, error)
}

// Charger is a Limiter that can also make a key pay for what is done already.
type Charger interface {
	Limiter
	// Charge takes cost also when less is left: the key is then in debt, and
	// nothing is allowed to it until that is refilled. Nothing bounds a debt but
	// the number of those who were let in before it was known.
	Charge(ctx context.Context, key string, cost int, limit Limit) error
}
