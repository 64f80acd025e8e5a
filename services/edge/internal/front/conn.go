package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// conn is a connection. Its goroutine is the only one that reads heads and answers;
// the handler's may read the body beside it.
type conn struct {
	srv     *Server
	token   uint64
	slot    net.Conn        // what was accepted
	rwc     net.Conn        // to be read, written and closed
	plain   net.Conn        // what the kernel knows; writes to it are those to rwc unless that is TLS
	raw     syscall.RawConn // of plain
	secured *tls.Conn       // nil: in the clear
	state   *tls.ConnectionState
	ctx     context.Context //nolint:containedctx // what its requests have in common
	remote  string
	over    bool // net/http has it now
	linger  bool // the client may be sending what nobody reads
	posted  bool // the latest request was a POST

	in   quietconn.Reader
	out  []byte                // what is being written at once
	step func(fd uintptr) bool // writeNow, a value kept, so that writing allocates nothing

	mu      sync.Mutex
	bounded bool            // there is a deadline of writing
	busy    bool            // there is something of a request
	left    bool            // the client has closed its side
	whole   bool            // the body of the request in hand was read
	current context.Context //nolint:containedctx // the request's in hand
	cancel  context.CancelFunc
	ends    func() // with it; nil: nothing
}

// newConn returns the connection on rwc, or nil when it cannot be served here: it must be
// the kernel's, or carried by one of those as it is. Who closes connections from outside
// tells so by OnClose.
func (s *Server) newConn(rwc net.Conn) *conn {
	if s.watch == nil {
		return nil
	}
	c := &conn{srv: s, slot: rwc, rwc: rwc, remote: rwc.RemoteAddr().String()}
	plain := rwc
	for {
		if closed, ok := plain.(interface{ OnClose(f func()) }); ok {
			closed.OnClose(c.release)
		}
		outer, ok := plain.(quietconn.Transparent)
		if !ok {
			break
		}
		plain = outer.Carrier()
	}
	if c.raw = quietconn.RawOf(plain); c.raw == nil {
		return nil
	}
	c.plain, c.step = plain, c.writeNow
	c.ctx = context.WithValue(context.WithValue(s.ctx, http.LocalAddrContextKey, rwc.LocalAddr()), inhand.RequestKey{}, c)
	if s.tls != nil {
		c.secured = tls.Server(rwc, s.tls)
		c.rwc = c.secured
		c.in.Init(c.secured, nil, c.srv.pool)
	} else {
		c.in.Init(rwc, c.raw, c.srv.pool)
	}
	return c
}

// serve answers the requests of the connection, one after the other.
func (c *conn) serve() {
	defer func() { c.end(recover()) }()
	watched := c.srv.watch.add(c.raw, c.token) == nil
	if c.secured != nil && !c.handshake() {
		return
	}
	if !watched {
		c.handOver() // the system watches no more
		return
	}
	for first := true; ; first = false {
		h, ok := c.next(first)
		if !ok {
			return
		}
		req, err := c.request(h)
		if err != nil {
			c.handOver() // it says what is wrong in its own words
			return
		}
		if !c.answer(req) || !c.srv.keepsAlive() {
			return
		}
	}
}

// end closes the connection unless it was handed over, and says so when a handler
// panicked: the client sees that its answer is cut.
func (c *conn) end(panicked any) {
	c.tell(panicked)
	c.release()
	_, _ = c.in.Discard(c.in.Buffered()) // it lets the buffer go
	if !c.over {
		if c.linger {
			c.closeWrite()
		}
		_ = c.rwc.Close()
	}
	c.srv.forget(c)
}

// tell logs a panic, as net/http does.
func (c *conn) tell(panicked any) {
	if panicked != nil && panicked != http.ErrAbortHandler { //nolint:errorlint // as it was thrown
		c.srv.logf("http: panic serving %v: %v\n%s", c.remote, panicked, debug.Stack())
	}
}

// lingerTime is how long a client has to read its answer, of which a connection that
// is closed with unread bytes would take the end with it.
const lingerTime = 500 * time.Millisecond

func (c *conn) closeWrite() {
	if half, ok := c.rwc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	} else if half, ok := c.plain.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	time.Sleep(lingerTime) //nolint:forbidigo // the network's time
}

// handshake begins TLS; false: the connection is over, or is net/http's, as that of
// every protocol but HTTP/1.1 is.
func (c *conn) handshake() bool {
	if d := c.srv.headerTimeout(); d > 0 {
		_ = c.rwc.SetDeadline(time.Now().Add(d)) //nolint:forbidigo // the network's deadlines are on the machine's clock
	}
	if err := c.secured.HandshakeContext(c.ctx); err != nil {
		if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
			if h := string(e.RecordHeader[:]); h == "GET /" || h == "HEAD " || h == "POST " || h == "PUT /" || h == "OPTIO" {
				_, _ = io.WriteString(e.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
			}
		}
		c.srv.logf("http: TLS handshake error from %s: %v", c.remote, err)
		return false
	}
	_ = c.rwc.SetDeadline(time.Time{})
	state := c.secured.ConnectionState()
	if p := state.NegotiatedProtocol; p != "" && p != "http/1.1" {
		c.handOver()
		return false
	}
	c.state = &state
	return true
}

// answer has the handler answer; false: the connection is not to be used any more.
func (c *conn) answer(req *http.Request) bool {
	w := &response{conn: c, req: req, handlers: c.srv.fields.get(), length: -1}
	w.body, _ = req.Body.(*body)
	w.wantsClose = req.Close
	c.srv.handler.ServeHTTP(w, req)
	c.release()
	keep := w.finish()
	if req.MultipartForm != nil {
		_ = req.MultipartForm.RemoveAll()
	}
	if c.secured != nil { // which may write while it reads
		c.unbound()
	}
	return keep
}
