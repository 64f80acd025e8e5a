package httpwire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
)

// conn is a connection with one request at most.
type conn struct {
	client  *Client
	conn    net.Conn
	asker   *quietconn.Asker
	limited limited
	r       *bufio.Reader
	out     []byte
	since   time.Time // when it was put away
	// interrupt ends reads and writes.
	interrupt func()

	closing sync.Once
}

// limited bounds what is read of an answer's head, and knows whether anything was.
type limited struct {
	from io.Reader
	left int // of the head; below 0 there is no bound
	any  bool
}

var errLongHead = errors.New("httpwire: the head of the answer is too long")

func (l *limited) Read(p []byte) (int, error) {
	switch {
	case l.left == 0:
		return 0, errLongHead
	case l.left > 0:
		p = p[:min(len(p), l.left)]
	}
	n, err := l.from.Read(p)
	if l.left > 0 {
		l.left -= n
	}
	l.any = l.any || n > 0
	return n, err
}

func (cn *conn) close() { cn.closing.Do(func() { _ = cn.conn.Close() }) }

// silent reports whether the server has said nothing to the last request.
func (cn *conn) silent() bool { return !cn.limited.any }

// maxKeep is the largest request whose buffer is kept.
const maxKeep = 16 << 10

// maxInterim bounds the answers before the answer (RFC 9110, section 15.2).
const maxInterim = 5

// exchange writes a request and reads the head of its answer, and the body of an ordinary
// one of up to most bytes. Nothing is written to a connection that was kept and has ended.
func (cn *conn) exchange(ctx context.Context, r *Request, kept bool, most int64) (*http.Response, []byte, error) {
	stop := context.AfterFunc(ctx, cn.interrupt)
	cn.out = cn.client.append(cn.out[:0], r)
	cn.limited.left, cn.limited.any = maxHead, false
	cn.asker.Ask(cn.out, kept)
	if _, err := cn.r.Peek(1); errors.Is(err, quietconn.ErrNotQuiet) {
		stop()
		return nil, nil, err
	}
	failed := cn.asker.Failed() // what else is wrong is said by the reads below
	if cap(cn.out) > maxKeep {
		cn.out = nil
	}
	if length, ok := bareHead(cn.r, most); ok {
		whole, err := cn.whole(length, stop, failed != nil)
		return nil, whole, err
	}
	if o := ordinaryHead(cn.r); o != nil {
		o.body = body{Reader: o.body.Reader, conn: cn, ctx: ctx, stop: stop, last: failed != nil}
		cn.begun(&o.Response, &o.body)
		return &o.Response, nil, nil
	}
	// A server may have answered what it did not want to read.
	for range maxInterim {
		resp, err := http.ReadResponse(cn.r, &http.Request{Method: r.Method})
		if err != nil {
			stop()
			return nil, nil, errors.Join(failed, err)
		}
		interim := resp.StatusCode >= http.StatusContinue && resp.StatusCode < http.StatusOK
		if !interim || resp.StatusCode == http.StatusSwitchingProtocols {
			last := resp.Close || failed != nil || resp.StatusCode < http.StatusOK ||
				resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
			cn.begun(resp, &body{Reader: resp.Body, conn: cn, ctx: ctx, stop: stop, last: last})
			return resp, nil, nil //nolint:nilerr // what could not be written was answered all the same
		}
	}
	stop()
	return nil, nil, errors.New("httpwire: there is no end of interim answers")
}

// whole reads the body of an answer, and gives the connection back unless it is the last.
func (cn *conn) whole(length int64, stop func() bool, last bool) ([]byte, error) {
	cn.limited.left = -1
	whole := make([]byte, length)
	_, err := io.ReadFull(cn.r, whole)
	// A context that has ended may set a deadline at any time.
	switch stopped := stop(); {
	case err != nil:
		return nil, err
	case stopped && !last:
		cn.client.put(cn)
	default:
		cn.close()
	}
	return whole, nil
}

// begun gives an answer its body, whose length is not bounded here.
func (cn *conn) begun(resp *http.Response, b *body) {
	cn.limited.left = -1
	if resp.ContentLength == 0 {
		b.end(io.EOF)
	}
	resp.Body = b
}

// body is an answer's, which gives the connection back at its end. It is for one
// goroutine.
type body struct {
	io.Reader
	conn *conn
	ctx  context.Context //nolint:containedctx // the answer's
	stop func() bool
	last bool // no request may follow on the connection
	err  error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.Reader.Read(p)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.end(err)
	return n, err
}

// Ended reports whether all that is left of a chunked answer is its end, and has come:
// reading on waits for nothing.
func (b *body) Ended() bool {
	if b.err != nil {
		return true
	}
	rest, _ := b.conn.r.Peek(b.conn.r.Buffered())
	return string(rest) == "0\r\n\r\n" || string(rest) == "\r\n0\r\n\r\n"
}

// end gives the connection back, once; err is what is read from now on.
func (b *body) end(err error) {
	b.err = err
	// A context that has ended may set a deadline at any time.
	if b.stop() && errors.Is(err, io.EOF) && !b.last {
		b.conn.client.put(b.conn)
		return
	}
	b.conn.close()
}

// Close ends the answer; what was not read of it is lost, with its connection, unless
// it is empty.
func (b *body) Close() error {
	if b.err == nil {
		b.end(http.ErrBodyReadAfterClose)
	}
	return nil
}
