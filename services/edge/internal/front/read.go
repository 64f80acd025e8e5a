package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// noBeginning is how many bytes after a request net/http takes for the beginning of
// another.
const noBeginning = 4

// next waits for a request and reads its head; false: none is to be served here.
func (c *conn) next(first bool) (head, bool) {
	c.setBusy(c.in.Buffered() > 0)
	if !c.srv.keepsAlive() {
		return head{}, false
	}
	if first {
		c.expect(c.srv.headerTimeout())
	}
	for begun := first; ; {
		there := c.in.Buffered()
		if !first && there >= noBeginning && c.posted && c.passOver() {
			c.expect(c.srv.headerTimeout())
			first, begun = true, true
			continue
		}
		h, v := look(c.in.Bytes())
		if !first && there < noBeginning {
			v = part
		}
		switch {
		case v == plain:
			return h, c.srv.keepsAlive()
		case v == odd || there == c.in.Size():
			c.handOver()
			return head{}, false
		case begun:
		case there == 0:
			c.expect(c.srv.idleTimeout())
		default:
			c.expect(c.srv.headerTimeout())
			begun = true
		}
		if err := c.in.Fill(); err != nil {
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
	for _, b := range c.in.Bytes()[:noBeginning] {
		if b != '\r' && b != '\n' {
			break
		}
		n++
	}
	if n > 0 {
		_, _ = c.in.Discard(n) // they are there
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

// request makes the request whose head is in the buffer.
func (c *conn) request(h head) (*http.Request, error) {
	ctx, cancel := context.WithCancel(c.ctx)
	req, err := h.read(ctx, c.in.Bytes())
	if err != nil {
		cancel()
		return nil, err
	}
	_, _ = c.in.Discard(h.size) // it is there
	if h.length > int64(c.in.Buffered()) {
		c.expect(0) // the head's time is not the body's
	}
	c.posted = req.Method == http.MethodPost
	req.RemoteAddr, req.TLS = c.remote, c.state
	req.Body = http.NoBody
	if h.length > 0 {
		req.Body = &body{conn: c, rest: h.length}
	}
	c.begin(ctx, cancel, h.length == 0)
	return req, nil
}
