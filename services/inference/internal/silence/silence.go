// Package silence ends a stream on which nothing was heard for too long: a peer
// that is frozen, or behind a broken network, closes nothing. Start reading at
// Guard.
package silence

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Error is the cause with which a guarded context ends.
type Error struct{ After time.Duration }

func (e *Error) Error() string { return fmt.Sprintf("nothing was heard for %v", e.After) }

// Guard returns a context that ends, with an *Error as its cause, once heard was
// not called for timeout. stop must be called, and ends the context too.
func Guard(ctx context.Context, c clock.Clock, timeout time.Duration) (_ context.Context, heard, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	begun := c.Now()
	var last atomic.Int64 // nanoseconds since then, whatever the wall clock does
	heard = func() { last.Store(int64(c.Now().Sub(begun))) }
	timer := c.NewTimer(timeout)
	go func() {
		defer timer.Stop()
		for {
			select {
			case <-guarded.Done():
				return
			case <-timer.C():
			}
			// Looked at once in a timeout and not at every sound: there are many streams.
			silent := c.Now().Sub(begun) - time.Duration(last.Load())
			if silent >= timeout {
				cancel(&Error{After: timeout})
				return
			}
			timer.Reset(timeout - silent)
		}
	}()
	return guarded, heard, func() { cancel(nil) }
}
