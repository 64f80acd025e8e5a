// Package clock hands the passing of time to code as a value, so that a test
// can decide what time it is. It knows nothing else; start reading at Clock.
package clock

import (
	"context"
	"time"
)

// Clock tells the time and makes timers. Implementations are safe for use by
// several goroutines at once.
type Clock interface {
	// Now returns the present instant.
	Now() time.Time
	// NewTimer returns a timer that fires once, d from now.
	NewTimer(d time.Duration) Timer
	// NewTicker returns a ticker that fires every d; d must be positive.
	NewTicker(d time.Duration) Ticker
}

// Timer is the part of time.Timer that callers need.
type Timer interface {
	// C delivers the instant at which the timer fired.
	C() <-chan time.Time
	// Stop prevents the timer from firing and reports whether it did.
	Stop() bool
	// Reset arms the timer again, d from now, and reports whether it was armed.
	Reset(d time.Duration) bool
}

// Ticker is the part of time.Ticker that callers need. A slow reader misses
// ticks; they are not queued.
type Ticker interface {
	C() <-chan time.Time
	Stop()
}

// Real returns the machine's clock.
func Real() Clock { return realClock{} }

// Sleep waits for d on c, or until ctx ends, whose cause it then returns.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type realClock struct{}

func (realClock) Now() time.Time                   { return time.Now() }
func (realClock) NewTimer(d time.Duration) Timer   { return realTimer{time.NewTimer(d)} }
func (realClock) NewTicker(d time.Duration) Ticker { return realTicker{time.NewTicker(d)} }

type realTimer struct{ t *time.Timer }

func (t realTimer) C() <-chan time.Time        { return t.t.C }
func (t realTimer) Stop() bool                 { return t.t.Stop() }
func (t realTimer) Reset(d time.Duration) bool { return t.t.Reset(d) }

type realTicker struct{ t *time.Ticker }

func (t realTicker) C() <-chan time.Time { return t.t.C }
func (t realTicker) Stop()               { t.t.Stop() }
