// Package httpwire speaks HTTP/1.1 to one server on the goroutines of its callers: a
// request is written and its answer read where it is asked for, where net/http has two
// goroutines for each connection that have to be woken. It is for servers nearby, whose
// requests fit the socket's buffer: an answer is read only after its request was
// written. It knows no TLS, proxies, redirects or cookies, for which net/http is there.
// Start reading at Client.Do.
package httpwire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/poterne/poterne/pkg/quietconn"
)

// MaxBody is the largest body of a request, in bytes: what a socket takes although
// nobody reads yet.
const MaxBody = 64 << 10

// maxHead bounds what is read of the head of an answer, in bytes.
const maxHead = 1 << 20

// Options is what a Client needs.
type Options struct {
	// Addr is the server's host:port, and Host how requests call it.
	Addr, Host string
	// Header is sent with every request.
	Header http.Header
	// DialTimeout bounds the time to a connection.
	DialTimeout time.Duration
	// Idle is for how long a connection without a request is kept, and MaxIdle how
	// many are.
	Idle    time.Duration
	MaxIdle int
	// ReadBuffer is what is read at once, in bytes.
	ReadBuffer int
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	opts Options
	head []byte // what is the same in every request's head

	mu     sync.Mutex
	idle   []*conn // the one used last comes last
	sweep  *time.Timer
	closed bool
}

// New returns a client, or an error for a header that cannot be sent.
func New(o Options) (*Client, error) {
	c := &Client{opts: o}
	c.head = append(c.head, " HTTP/1.1\r\nHost: "+o.Host+"\r\n"...)
	if !httpguts.ValidHostHeader(o.Host) {
		return nil, fmt.Errorf("httpwire: %q is no host", o.Host)
	}
	for name, values := range o.Header {
		for _, v := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("httpwire: the header %q cannot be sent", name)
			}
			c.head = append(c.head, name+": "+v+"\r\n"...)
		}
	}
	return c, nil
}

// Request is one request.
type Request struct {
	// Method and Path are sent as they are; the path begins with a slash.
	Method, Path string
	// ID, when set, is sent as X-Request-Id.
	ID   string
	Body []byte // at most MaxBody
}

// Do sends a request and returns the answer when its head has come. Its body must be
// closed; a connection whose answer was read to its end is used again. ctx bounds the
// reading of the body as well. A request to which a kept connection ended without a
// word is sent again: the server closed it just then.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	resp, _, err := c.do(ctx, &r, -1)
	return resp, err
}

// Whole is Do for who wants nothing but the body of an answer of 200: where its length is
// told, and is most bytes at most, it is read, and returned in place of the answer.
func (c *Client) Whole(ctx context.Context, r Request, most int64) (*http.Response, []byte, error) {
	return c.do(ctx, &r, most)
}

// do reads the body of an ordinary answer up to most bytes, unless that is below 0.
func (c *Client) do(ctx context.Context, r *Request, most int64) (*http.Response, []byte, error) {
	if len(r.Body) > MaxBody {
		return nil, nil, fmt.Errorf("httpwire: a body of %d bytes", len(r.Body))
	}
	if !valid(r.Path) || r.ID != "" && !httpguts.ValidHeaderFieldValue(r.ID) {
		return nil, nil, errors.New("httpwire: the request cannot be written")
	}
	for {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		cn, kept, err := c.connection(ctx)
		if err != nil {
			return nil, nil, err
		}
		resp, whole, err := cn.exchange(ctx, r, kept, most)
		if err == nil {
			return resp, whole, nil
		}
		cn.close()
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case !kept || !cn.silent():
			return nil, nil, err
		}
	}
}

// valid reports whether a path can stand in a request's first line.
func valid(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return false
		}
	}
	return true
}

// append writes a request's bytes behind b.
func (c *Client) append(b []byte, r *Request) []byte {
	b = append(append(append(b, r.Method...), ' '), r.Path...)
	b = append(b, c.head...)
	if r.ID != "" {
		b = append(append(append(b, "X-Request-Id: "...), r.ID...), "\r\n"...)
	}
	if r.Method != http.MethodGet {
		b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	return append(append(b, "\r\n"...), r.Body...)
}

// connection returns one that was kept, or a new one.
func (c *Client) connection(ctx context.Context) (cn *conn, kept bool, err error) {
	if cn := c.take(); cn != nil {
		return cn, true, nil
	}
	d := net.Dialer{Timeout: c.opts.DialTimeout, KeepAlive: 30 * time.Second}
	nc, err := d.DialContext(ctx, "tcp", c.opts.Addr)
	if err != nil {
		return nil, false, err
	}
	cn = &conn{
		client: c, conn: nc, asker: quietconn.NewAsker(nc),
		interrupt: func() { _ = nc.SetDeadline(time.Unix(1, 0)) }, // long over
	}
	cn.r = bufio.NewReaderSize(&cn.limited, c.opts.ReadBuffer)
	cn.limited.from = cn.asker
	return cn, false, nil
}

func (c *Client) take() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == 0 {
		return nil
	}
	last := len(c.idle) - 1
	cn := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	if time.Since(cn.since) < c.opts.Idle { //nolint:forbidigo // as the connections' deadlines
		return cn
	}
	cn.close()
	c.drop(len(c.idle)) // those before it have been kept longer still
	return nil
}

// put keeps a connection whose answer was read to its end.
func (c *Client) put(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= c.opts.MaxIdle || cn.r.Buffered() > 0 {
		cn.close()
		return
	}
	cn.since = time.Now() //nolint:forbidigo // as above
	c.idle = append(c.idle, cn)
	if c.sweep == nil {
		c.sweep = time.AfterFunc(c.opts.Idle, c.expire) //nolint:forbidigo // as above
	}
}

// expire closes what was kept for as long as it may.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, n := time.Now(), 0 //nolint:forbidigo // as above
	for n < len(c.idle) && now.Sub(c.idle[n].since) >= c.opts.Idle {
		n++
	}
	c.drop(n)
	if c.sweep = nil; len(c.idle) > 0 {
		c.sweep = time.AfterFunc(c.opts.Idle-now.Sub(c.idle[0].since), c.expire) //nolint:forbidigo // as above
	}
}

// drop closes the n connections that were kept longest; c.mu is held.
func (c *Client) drop(n int) {
	for _, cn := range c.idle[:n] {
		cn.close()
	}
	rest := copy(c.idle, c.idle[n:])
	clear(c.idle[rest:])
	c.idle = c.idle[:rest]
}

// Close closes the connections that no request uses; those in use are closed after it.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.drop(len(c.idle))
	if c.sweep != nil {
		c.sweep.Stop()
		c.sweep = nil
	}
}
