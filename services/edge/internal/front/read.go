package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
)

// noBeginning is how many bytes after a request net/http takes for the beginning of
// another.
const noBeginning = 4

// next waits for a request and reads its head; false: none is to be served here.
func (c *conn) next(first bool) (head, bool) {
	c.setBusy(len(c.in.bytes()) > 0)
	if !c.srv.keepsAlive() {
		return head{}, false
	}
	if first {
		c.expect(c.srv.headerTimeout())
	}
	for begun := first; ; {
		there := len(c.in.bytes())
		if !first && there >= noBeginning && c.posted && c.passOver() {
			c.expect(c.srv.headerTimeout())
			first, begun = true, true
			continue
		}
		h, v := look(c.in.bytes())
		if !first && there < noBeginning {
			v = part
		}
		switch {
		case v == plain:
			return h, c.srv.keepsAlive()
		case v == odd || there == bufferSize:
			c.handOver()
			return head{}, false
		case begun:
		case there == 0:
			c.expect(c.srv.idleTimeout())
		default:
			c.expect(c.srv.headerTimeout())
			begun = true
		}
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) && there > 0 && (first || there >= noBeginning) {
				c.handOver() // to be told what is wrong
			}
			return head{}, false
		}
		c.setBusy(true)
	}
}

// passOver takes away the ends of lines that some old clients send after the body of a
// POST, as many as net/http does (RFC 9112, section 2.2), and says whether there were any.
func (c *conn) passOver() bool {
	n := 0
	for _, b := range c.in.bytes()[:noBeginning] {
		if b != '\r' && b != '\n' {
			break
		}
		n++
	}
	if n > 0 {
		c.in.use(n, &c.srv.pool)
	}
	return n > 0
}

// expect bounds the wait for the next bytes; 0 does not.
func (c *conn) expect(wait time.Duration) {
	var t time.Time
	if wait > 0 {
		t = time.Now().Add(wait) //nolint:forbidigo // the network's deadlines are on the machine's clock
	}
	_ = c.rwc.SetReadDeadline(t)
}

// fill reads what has come, once there is something. In the clear no buffer is held
// while it waits.
func (c *conn) fill() error {
	if c.secured != nil {
		n, err := c.secured.Read(c.in.room(&c.srv.pool))
		c.in.add(n, &c.srv.pool)
		if n > 0 {
			return nil
		}
		return err
	}
	if err := c.raw.Read(c.try); err != nil {
		return err
	}
	switch {
	case c.tried.err != nil:
		return c.tried.err
	case c.tried.n == 0:
		return io.EOF
	default:
		return nil
	}
}

// readNow reads what is there into the buffer; false: nothing is.
func (c *conn) readNow(fd uintptr) (done bool) {
	c.tried.n, done, c.tried.err = quietconn.ReadNow(fd, c.in.room(&c.srv.pool))
	c.in.add(c.tried.n, &c.srv.pool)
	return done
}

// request makes the request whose head is in the buffer.
func (c *conn) request(h head) (*http.Request, error) {
	ctx, cancel := context.WithCancel(c.ctx)
	req, err := h.read(ctx, c.in.bytes())
	if err != nil {
		cancel()
		return nil, err
	}
	c.in.use(h.size, &c.srv.pool)
	if h.length > int64(len(c.in.bytes())) {
		c.expect(0) // the head's time is not the body's
	}
	c.posted = req.Method == http.MethodPost
	req.RemoteAddr, req.TLS = c.remote, c.state
	req.Body = http.NoBody
	if h.length > 0 {
		req.Body = &body{conn: c, rest: h.length}
	}
	c.begin(cancel, h.length == 0)
	return req, nil
}
