// Package inhand knows the calls that the gateway is working on, so that its end
// can cut them with an answer and wait for what they still do. It does not know
// what they ask for. Start reading at Calls.
package inhand

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// ErrEnding is what a call that was cut answers, and what its context ended for.
var ErrEnding = apierr.New(apierr.Unavailable, "this gateway is ending").WithRetryAfter(time.Second)

// Calls is the calls in hand. It is safe for concurrent use.
type Calls struct {
	ending context.Context //nolint:containedctx // ends all calls, not one
	end    context.CancelCauseFunc

	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is 0; nil when nobody waits
}

// New returns Calls without any.
func New() *Calls {
	c := new(Calls)
	c.ending, c.end = context.WithCancelCause(context.Background())
	return c
}

// Begin takes a call in hand. Its context ends when the call is cut; done must
// be called once, after the last thing that the call does.
func (c *Calls) Begin(ctx context.Context) (cut context.Context, done func()) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ending, func() { cancel(ErrEnding) })
	return ctx, func() {
		stop()
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n--; c.n == 0 && c.idle != nil {
			close(c.idle)
			c.idle = nil
		}
	}
}

// Outcome returns what a call answers whose handler returned err: ErrEnding when
// it failed after it had been cut. ctx is what Begin returned.
func Outcome(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrEnding) {
		return ErrEnding
	}
	return err
}

// Cut ends every call in hand, and those still to come, and returns how many are
// in hand. It does not wait for them.
func (c *Calls) Cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(ErrEnding)
	return c.n
}

// Wait waits until no call is in hand.
func (c *Calls) Wait(ctx context.Context) error {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%d calls did not end: %w", c.n, context.Cause(ctx))
	}
}
