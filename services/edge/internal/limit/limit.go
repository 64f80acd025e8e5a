// Package limit admits what comes at a bounded rate, and bounds what is in hand at
// once, by bucket. It knows no request, tenant or rule of its own accord: who is
// limited and by how much is handed in. Start reading at Ask; GCRA is the arithmetic
// that the in-process and the Redis implementation follow, and one suite of tests
// holds both to it.
package limit

import (
	"context"
	"errors"
	"time"
)

// Limit is how much a bucket may have.
type Limit struct {
	// Amount is what a bucket may have in each Period, refilled evenly; at least 1.
	Amount int
	// Period is the time in which Amount is refilled; positive.
	Period time.Duration
	// Burst is what may come at once after a rest; 0 means Amount.
	Burst int
}

// PerMinute returns a limit of n a minute, all of which may come at once.
func PerMinute(n int) Limit { return Limit{Amount: n, Period: time.Minute} }

// AtOnce is the most that may come at once.
func (l Limit) AtOnce() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return l.Amount
}

// interval is the time in which one unit is refilled, rounded up so that the rate is
// never exceeded.
func (l Limit) interval() time.Duration {
	n := time.Duration(l.Amount)
	return (l.Period + n - 1) / n
}

// tolerance is the time in which an empty bucket is full again.
func (l Limit) tolerance() time.Duration { return l.interval() * time.Duration(l.AtOnce()) }

// share is an nth part of l.
func (l Limit) share(n int) Limit {
	return Limit{Amount: l.Amount, Period: l.Period * time.Duration(n), Burst: max(l.AtOnce()/n, 1)}
}

// The bounds within which no product of an amount and a time overflows.
const (
	// MaxAmount bounds Amount and Burst.
	MaxAmount = 1_000_000_000
	// MaxPeriod bounds Period.
	MaxPeriod = 31 * 24 * time.Hour
	// MaxBurst bounds Burst, in amounts.
	MaxBurst = 100
	// maxDebt bounds what a bucket can owe, in bursts.
	maxDebt = 16
)

// Check returns why l makes no sense.
func (l Limit) Check() error {
	switch {
	case l.Amount < 1 || l.Amount > MaxAmount:
		return errors.New("limit: amount must be from 1 to 1000000000")
	case l.Period <= 0 || l.Period > MaxPeriod:
		return errors.New("limit: period must be positive and at most 744h")
	case l.Burst < 0 || l.Burst > MaxAmount || l.Burst > MaxBurst*l.Amount:
		return errors.New("limit: burst must not be negative, and at most 100 times the amount")
	}
	return nil
}

func (l Limit) check(cost int) error {
	if cost < 0 {
		return errors.New("limit: a cost must not be negative")
	}
	return l.Check()
}

// Decision is the answer about one bucket.
type Decision struct {
	// Allowed says whether the bucket has what was asked for. It was taken only when
	// every other bucket that was asked at once had it too.
	Allowed bool
	// Limit is what was applied.
	Limit Limit
	// Remaining is how much could still come at once.
	Remaining int
	// ResetAfter is how long until the whole burst is there again.
	ResetAfter time.Duration
	// RetryAfter is how long who was refused should wait; 0 when allowed, and when
	// waiting does not help since more was asked for than ever comes at once.
	RetryAfter time.Duration
	// Local says that the shared store was away, so that this replica decided alone,
	// with its share of the limit.
	Local bool
}

// Limiter decides whether a bucket may have cost more now. A cost of 0 takes nothing
// and tells what is left. Implementations are safe for concurrent use.
type Limiter interface {
	Allow(ctx context.Context, bucket string, cost int, limit Limit) (Decision, error)
}

// Charger is a Limiter that can also make a bucket pay for what is done already.
type Charger interface {
	Limiter
	// Charge takes cost also when less is left: the bucket is then in debt, and
	// nothing is allowed to it until that is refilled. A debt is at most 16 bursts.
	Charge(ctx context.Context, bucket string, cost int, limit Limit) error
}
