package grpcclient

import (
	"context"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/poterne/poterne/pkg/apierr"
)

// breaker refuses calls to a backend of which most have failed of late. Only
// what says that the backend is away counts as failure: a refusal, an overload
// or a caller's mistake is an answer.
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
		IsSuccessful: func(err error) bool { return apierr.ReasonOf(err) != apierr.Unavailable },
		IsExcluded:   func(err error) bool { return apierr.ReasonOf(err) == apierr.Cancelled },
		OnStateChange: func(name string, from, to gobreaker.State) {
			log.LogAttrs(context.Background(), slog.LevelWarn, "circuit breaker",
				slog.String("backend", name), slog.String("from", from.String()), slog.String("to", to.String()))
		},
	})
	return b
}

// allow lets a call pass, whose outcome is to be given to done, or refuses it.
func (b *breaker) allow() (done func(error), err error) {
	if b.two == nil {
		return func(error) {}, nil
	}
	done, err = b.two.Allow()
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "a service needed for this request is not available; try again").
			WithRetryAfter(b.openFor)
	}
	return done, nil
}
