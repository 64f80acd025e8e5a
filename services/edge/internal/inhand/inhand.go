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
	mu     sync.Mutex
	first  *call
	n      int
	ending bool
	idle   chan struct{} // closed when n is 0; nil when nobody waits

	end    context.Context //nolint:containedctx // what all calls have in common
	cut    context.CancelCauseFunc
	endKey any
}

// New returns Calls without any.
func New() *Calls {
	c := &Calls{endKey: endKey()}
	c.end, c.cut = context.WithCancelCause(context.Background())
	return c
}

// Begin takes a call in hand. Its context ends when the call is cut; done must
// be called once, after the last thing that the call does.
func (c *Calls) Begin(ctx context.Context) (cut context.Context, done func()) {
	one := &call{Context: ctx, of: c}
	c.mu.Lock()
	ending := c.ending
	if one.next = c.first; one.next != nil {
		one.next.before = one
	}
	c.first = one
	c.n++
	c.mu.Unlock()
	if ending {
		one.cut()
	}
	return one, one.done
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
	c.ending = true
	n, calls := c.n, make([]*call, 0, c.n)
	for o := c.first; o != nil; o = o.next {
		calls = append(calls, o)
	}
	c.mu.Unlock()
	for _, o := range calls { // who waits for a context's end may ask for the calls
		o.cut()
	}
	c.cut(ErrEnding) // when it is known of each why it ends
	return n
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
