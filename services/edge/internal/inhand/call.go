package inhand

import (
	"context"
	"sync"
	"sync/atomic"
)

// call is one in hand, among the others, and its context. What can end that is made when
// somebody waits for the end: of most calls that come by a door nobody does before they
// are let in.
type call struct {
	context.Context //nolint:containedctx // the caller's

	of           *Calls
	before, next *call

	mu    sync.Mutex // of making ends
	ends  atomic.Pointer[ending]
	ended atomic.Bool // the call is done
}

// ending is a context that is the caller's, and can be ended.
type ending struct {
	context.Context //nolint:containedctx // it is one
	cancel          context.CancelCauseFunc
}

// end returns what ends the call's context.
func (o *call) end() *ending {
	if e := o.ends.Load(); e != nil {
		return e
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.ends.Load(); e != nil {
		return e
	}
	e := new(ending)
	e.Context, e.cancel = context.WithCancelCause(o.Context)
	if o.ended.Load() {
		e.cancel(nil)
	}
	o.ends.Store(e)
	return e
}

func (o *call) cut() { o.end().cancel(ErrEnding) }

// Done is closed when the call is cut or done, or its caller leaves.
func (o *call) Done() <-chan struct{} { return o.end().Done() }

// Err says why the context has ended, and nil before.
func (o *call) Err() error {
	if e := o.ends.Load(); e != nil {
		return e.Err()
	}
	if o.ended.Load() {
		return context.Canceled
	}
	return o.Context.Err()
}

type callKey struct{}

// Value is the caller's, and what ends the context once that is made.
func (o *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return o
	}
	if e := o.ends.Load(); e != nil {
		return e.Value(key)
	}
	return o.Context.Value(key)
}

// done ends the context, and lets the call go.
func (o *call) done() {
	o.mu.Lock()
	o.ended.Store(true)
	e := o.ends.Load()
	o.mu.Unlock()
	if e != nil {
		e.cancel(nil)
	}
	c := o.of
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.before == nil {
		c.first = o.next
	} else {
		o.before.next = o.next
	}
	if o.next != nil {
		o.next.before = o.before
	}
	// One that somebody still knows must not keep all that came after it.
	o.before, o.next = nil, nil
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}
