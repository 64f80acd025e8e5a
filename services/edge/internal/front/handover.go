package front

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// handedOver is the listener from which net/http takes the connections that are not
// served here.
type handedOver struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept returns the next one.
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close has nothing more taken.
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the port's.
func (h *handedOver) Addr() net.Addr { return h.addr }

// give hands c on, or closes it when nobody takes it any more.
func (h *handedOver) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

// handOver gives the connection to net/http, as if nothing of it had been read.
func (c *conn) handOver() {
	if c.raw != nil {
		c.srv.watch.remove(c.raw)
	}
	c.over = true
	_ = c.rwc.SetDeadline(time.Time{})
	read := bytes.Clone(c.in.Bytes())
	_, _ = c.in.Discard(len(read)) // it lets the buffer go
	switch {
	case c.secured == nil:
		c.srv.handed.give(&replayed{Conn: c.rwc, read: read})
	case c.state == nil:
		c.srv.handed.give(c.rwc) // HTTP/2 wants the *tls.Conn itself
	default:
		c.srv.handed.give(&replayedTLS{replayed{Conn: c.rwc, read: read}, c.secured})
	}
}

// secure begins TLS on a connection of which nothing is served here: of HTTP/1.1 net/http
// gets one whose framing is looked at, as of those that are replayed.
func (s *Server) secure(rwc net.Conn) {
	c := &conn{srv: s, slot: rwc, ctx: s.ctx, remote: rwc.RemoteAddr().String(), secured: tls.Server(rwc, s.tls)}
	c.rwc = c.secured
	defer func() {
		c.tell(recover())
		if !c.over {
			_ = rwc.Close()
		}
	}()
	if c.handshake() {
		c.handOver()
	}
}

// replayed begins with what was read of a connection.
type replayed struct {
	net.Conn
	read  []byte
	frame framing
}

func (r *replayed) framing() *framing { return &r.frame }

// Read reads.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		n, err := r.Conn.Read(p)
		r.frame.saw(p[:n])
		return n, err
	}
	n := copy(p, r.read)
	r.frame.saw(p[:n])
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}

// replayedTLS has net/http know that it is TLS.
type replayedTLS struct {
	replayed
	conn *tls.Conn
}

// ConnectionState is that of TLS.
func (r *replayedTLS) ConnectionState() tls.ConnectionState { return r.conn.ConnectionState() }

// CloseWrite tells the client that nothing follows.
func (r *replayedTLS) CloseWrite() error { return r.conn.CloseWrite() }
