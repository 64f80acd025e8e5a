package limit

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// The bounds within which a shared store that is away may be noticed.
const (
	breakerFailures = 5
	breakerPause    = time.Second
)

// Guarded asks a shared limiter and, when that does not answer in time, a local
// one, so that a store that is away costs accuracy but no request. Its answers
// then say Local. After a few failures in a row it stops asking for a while.
type Guarded struct {
	shared  Limiter
	local   Limiter
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[Decision]
	away    func(ctx context.Context, err error)
}

// NewGuarded returns a limiter that waits at most timeout for shared. away,
// which may be nil, is told of every decision that was made locally, and why.
func NewGuarded(shared, local Limiter, timeout time.Duration, away func(ctx context.Context, err error)) *Guarded {
	if away == nil {
		away = func(context.Context, error) {}
	}
	return &Guarded{
		shared: shared, local: local, timeout: timeout, away: away,
		breaker: gobreaker.NewCircuitBreaker[Decision](gobreaker.Settings{
			Name:        "limit",
			MaxRequests: 1,
			Timeout:     breakerPause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			// A caller that goes away says nothing about the store.
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		}),
	}
}

// Allow fails only for a limit that makes no sense.
func (g *Guarded) Allow(ctx context.Context, key string, cost int, l Limit) (Decision, error) {
	if err := l.check(cost); err != nil {
		return Decision{}, err
	}
	d, err := g.breaker.Execute(func() (Decision, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		return g.shared.Allow(ctx, key, cost, l)
	})
	if err == nil {
		return d, nil
	}
	g.away(ctx, err)
	d, err = g.local.Allow(ctx, key, cost, l)
	d.Local = true
	return d, err
}
