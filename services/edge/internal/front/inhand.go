package front

import (
	"context"

	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// begin begins a request with ctx, which cancel ends.
func (c *conn) begin(ctx context.Context, cancel context.CancelFunc, whole bool) {
	c.mu.Lock()
	c.current, c.cancel, c.whole, c.ends = ctx, cancel, whole, nil
	c.mu.Unlock()
	c.judge(false, false)
}

// bodyRead says that the body was read to its end. From now on a client that leaves
// ends the request, and one that has left does, too.
func (c *conn) bodyRead() { c.judge(false, true) }

// peerLeft is called when the client has closed its side. While the body is not read to
// its end, who reads it finds that out: what was sent before counts.
func (c *conn) peerLeft() { c.judge(true, false) }

// judge ends the request in hand when its client has left and all of it was read.
func (c *conn) judge(left, whole bool) {
	c.mu.Lock()
	c.left, c.whole = c.left || left, c.whole || whole
	ends, ctx, cancel := c.left && c.whole, c.current, c.cancel
	c.mu.Unlock()
	if ends {
		c.cut(ctx, cancel)
	}
}

// release ends the context of the request in hand, and what is to end with it.
func (c *conn) release() {
	c.mu.Lock()
	ctx, cancel := c.current, c.cancel
	c.mu.Unlock()
	c.cut(ctx, cancel)
}

// cut ends ctx, which was that of the request in hand, by cancel, and what is to end with
// it; not another request that has begun meanwhile.
func (c *conn) cut(ctx context.Context, cancel context.CancelFunc) {
	if cancel == nil {
		return
	}
	cancel() // and nothing is taken from now on
	var ends func()
	c.mu.Lock()
	if c.current == ctx {
		ends, c.ends = c.ends, nil
	}
	c.mu.Unlock()
	if ends != nil {
		ends()
	}
}

var _ inhand.Request = (*conn)(nil)

// Current returns the context of the request in hand.
func (c *conn) Current() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// OnEnd has f called when ctx ends.
func (c *conn) OnEnd(ctx context.Context, f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != ctx || c.ends != nil || ctx.Err() != nil {
		return false
	}
	c.ends = f
	return true
}

// Forget has nothing called any more when ctx ends.
func (c *conn) Forget(ctx context.Context) {
	c.mu.Lock()
	if c.current == ctx {
		c.ends = nil
	}
	c.mu.Unlock()
}

func (c *conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	if !busy {
		c.current, c.cancel = nil, nil
	}
	c.mu.Unlock()
}

// closeIdle closes the connection unless there is a request on it.
func (c *conn) closeIdle() {
	c.mu.Lock()
	busy := c.busy
	c.mu.Unlock()
	if !busy {
		_ = c.rwc.Close()
	}
}
