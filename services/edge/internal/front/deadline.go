package front

import (
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
)

// Most answers are written without a wait, and then it costs more to tell the connection
// by when than to write. So it is told when something has to be waited for.

// deadline is of an answer's writing. Its fields are under the connection's lock: a
// handler may bound a write that another goroutine of it waits for.
type deadline struct {
	until time.Time // zero: there is none
	said  bool      // by the handler
	waits bool      // a write may be waiting
}

// SetWriteDeadline bounds the writing.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	w.deadline.until, w.deadline.said = t, true
	if c.secured == nil && !w.deadline.waits {
		return nil
	}
	return c.writeBy(t) // TLS may write when it is not asked to
}

// bound says that a write may wait from now on, or has ended.
func (w *response) bound(waits bool) {
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	w.deadline.waits = waits
	switch {
	case !waits:
	case w.deadline.said:
		if c.secured == nil {
			_ = c.writeBy(w.deadline.until)
		}
	case c.bounded: // by the answer before
		_ = c.writeBy(time.Time{})
	}
}

// sendNow writes as much of b as there is room for, and returns the rest: all of it on
// connections of TLS, and when the time is over.
func (w *response) sendNow(b []byte) []byte {
	c := w.conn
	if c.secured != nil || len(b) == 0 {
		return b
	}
	c.mu.Lock()
	until := w.deadline.until
	c.mu.Unlock()
	if !until.IsZero() && !time.Now().Before(until) { //nolint:forbidigo // the network's deadlines are on the machine's clock
		return b
	}
	c.out = b
	_ = c.raw.Write(c.step) // what is wrong is found out by who writes the rest
	b, c.out = c.out, nil
	return b
}

// writeNow is a step of RawConn's Write, which waits for nothing.
func (c *conn) writeNow(fd uintptr) (done bool) {
	c.out = c.out[quietconn.WriteNow(fd, c.out):]
	return true
}

// writeBy tells the connection by when to have written. The lock must be held.
func (c *conn) writeBy(t time.Time) error {
	c.bounded = !t.IsZero()
	return c.rwc.SetWriteDeadline(t)
}

// unbound lifts the deadline of writing.
func (c *conn) unbound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bounded {
		_ = c.writeBy(time.Time{})
	}
}
