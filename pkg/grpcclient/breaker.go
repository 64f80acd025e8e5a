package grpcclient

import (
	"context"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/poterne/poterne/pkg/apierr"
)

// breaker refuses calls to a backend that most calls did not reach of late. An
// answer is never a failure, whatever it says: one model without a worker, or a
// store that is down, is told at once and says nothing of what other callers
// ask for. A backend that is up and not ready answers so too, which costs
// nobody anything; while its health service says it, the connection has no
// address and the calls fail unanswered. In one process a backend is always
// there, and there is no breaker.
type breaker struct {
	two     *gobreaker.TwoStepCircuitBreaker[struct{}]
	target  string
	openFor time.Duration
}

func newBreaker(target string, cfg Breaker, log *slog.Logger) *breaker {
	b := &breaker{target: target, openFor: cfg.OpenFor}
	if !cfg.Enabled {
		return b
	}
	const buckets = 10
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         target,
		MaxRequests:  cfg.Probes,
		Interval:     cfg.Window,
		BucketPeriod: cfg.Window / buckets,
		Timeout:      cfg.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return n.Requests >= cfg.MinCalls && float64(n.TotalFailures) >= cfg.FailureRatio*float64(n.Requests)
		},
		IsSuccessful: func(err error) bool { return !Unreached(err) },
		IsExcluded:   func(err error) bool { return apierr.ReasonOf(err) == apierr.Cancelled },
		OnStateChange: func(name string, from, to gobreaker.State) {
			log.LogAttrs(context.Background(), slog.LevelWarn, "circuit breaker",
				slog.String("backend", name), slog.String("from", from.String()), slog.String("to", to.String()))
		},
	})
	return b
}

// Unreached reports whether err says that a call did not get through to its
// service, or was cut off from it: UNAVAILABLE that no service said.
func Unreached(err error) bool {
	return apierr.ReasonOf(err) == apierr.Unavailable && !apierr.Answered(err)
}

// untold is told nothing.
func untold(error) {}

// allow lets a call pass, whose outcome is to be given to done, or refuses it.
func (b *breaker) allow() (done func(error), err error) {
	if b.two == nil {
		return untold, nil
	}
	done, err = b.two.Allow()
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "a service needed for this request is not available; try again").
			WithRetryAfter(b.openFor)
	}
	return done, nil
}
