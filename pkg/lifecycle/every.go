package lifecycle

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Jitter returns a number in [0, 1), as rand.Float64 does.
type Jitter func() float64

// Every calls fn at once and then every interval, stretched at random by up to
// a tenth so that replicas do not work in step; a nil jitter stretches nothing.
// The interval counts from the end of a call: calls never overlap. It returns
// when ctx ends (nil) or when fn fails (that error): work that may fail and
// should go on must deal with its own errors.
func Every(ctx context.Context, c clock.Clock, interval time.Duration, jitter Jitter, fn func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		wait := interval
		if jitter != nil {
			wait += time.Duration(jitter() * float64(interval) / 10)
		}
		if clock.Sleep(ctx, c, wait) != nil {
			return nil //nolint:nilerr // the end was asked for
		}
	}
	return nil
}
