package front

import "context"

// begin begins a request, which cancel ends.
func (c *conn) begin(cancel context.CancelFunc, whole bool) {
	c.mu.Lock()
	c.cancel, c.whole = cancel, whole
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
	cancel := c.cancel
	ends := c.left && c.whole && cancel != nil
	c.mu.Unlock()
	if ends {
		cancel()
	}
}

// release ends the context of the request in hand.
func (c *conn) release() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	if !busy {
		c.cancel = nil
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
