// Package doorway decides about connections before a byte of them is read: whose
// address has too many, or is banned, is closed at once. Behind a load balancer
// that speaks the PROXY protocol it finds out first whose connection it is. It knows
// no request. Start reading at Wrap.
package doorway

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// Config is what holds for the connections of one port.
type Config struct {
	// PerAddress bounds the connections of one address (for IPv6, of one /64) that
	// are open at once; 0: no bound. Trusted proxies have none.
	PerAddress int
	// Proxy says that trusted proxies begin each connection with a header of the
	// PROXY protocol, version 2, and HeaderTimeout how long that may take.
	Proxy         bool
	HeaderTimeout time.Duration
}

// Judge says what is known of addresses. Implementations are safe for concurrent
// use and do not wait.
type Judge interface {
	// Trusts reports whether an address is a trusted proxy's.
	Trusts(addr netip.Addr) bool
	// Banned reports whether connections of an address are closed.
	Banned(addr netip.Addr) bool
	// OnBan has expel called with every network that is banned from now on.
	OnBan(expel func(network netip.Prefix))
}

// maxPending bounds the connections whose header is being waited for.
const maxPending = 1024

// Wrap returns a listener of those of inner's connections that may come in. Closing
// it closes inner.
func Wrap(inner net.Listener, cfg Config, judge Judge) net.Listener {
	l := &listener{Listener: inner, cfg: cfg, judge: judge, open: make(map[string]map[*counted]struct{}), closed: make(chan struct{})}
	if cfg.Proxy {
		l.ready, l.pending = make(chan net.Conn), make(chan struct{}, maxPending)
		l.failed = make(chan error, 1)
	}
	judge.OnBan(l.expel)
	return l
}

type listener struct {
	net.Listener
	cfg   Config
	judge Judge

	mu   sync.Mutex
	open map[string]map[*counted]struct{} // connections by network

	// Of connections that begin with a header, which are waited for beside each
	// other.
	ready   chan net.Conn
	pending chan struct{}
	failed  chan error
	accept  sync.Once

	closed chan struct{}
	once   sync.Once
}

// Accept returns the next connection that may come in.
func (l *listener) Accept() (net.Conn, error) {
	if !l.cfg.Proxy {
		for {
			c, err := l.Listener.Accept()
			if err != nil {
				return nil, err
			}
			if admitted := l.admit(c, addrOf(c.RemoteAddr())); admitted != nil {
				return admitted, nil
			}
		}
	}
	l.accept.Do(func() { go l.acceptAll() })
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		l.failed <- err
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// acceptAll takes connections until the port is closed.
func (l *listener) acceptAll() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
				continue
			}
			l.failed <- err
			return
		}
		addr := addrOf(c.RemoteAddr())
		if !l.judge.Trusts(addr) {
			if c = l.admit(c, addr); c != nil {
				l.give(c)
			}
			continue
		}
		select {
		case l.pending <- struct{}{}:
			go func() {
				defer func() { <-l.pending }()
				if c := l.introduced(c); c != nil {
					l.give(c)
				}
			}()
		default:
			_ = c.Close()
		}
	}
}

// introduced reads the header of c, a trusted proxy's connection.
func (l *listener) introduced(c net.Conn) net.Conn {
	_ = c.SetReadDeadline(time.Now().Add(l.cfg.HeaderTimeout)) //nolint:forbidigo // the network's deadlines are on the machine's clock
	from, err := readHeader(c)
	if err != nil || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close()
		return nil
	}
	if !from.IsValid() { // the proxy speaks for itself, as health checks do
		return l.admit(c, addrOf(c.RemoteAddr()))
	}
	return l.admit(&forwarded{Conn: c, from: net.TCPAddrFromAddrPort(from)}, from.Addr().Unmap())
}

func (l *listener) give(c net.Conn) {
	select {
	case l.ready <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// admit returns c, counted, or closes it and returns nil.
func (l *listener) admit(c net.Conn, addr netip.Addr) net.Conn {
	if l.judge.Trusts(addr) {
		return c
	}
	if l.judge.Banned(addr) {
		return drop(c)
	}
	network := clientaddr.Network(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.PerAddress > 0 && len(l.open[network]) >= l.cfg.PerAddress {
		return drop(c)
	}
	if l.open[network] == nil {
		l.open[network] = make(map[*counted]struct{})
	}
	in := &counted{Conn: c, addr: addr}
	in.leave = sync.OnceFunc(func() { l.left(network, in) })
	l.open[network][in] = struct{}{}
	return in
}

func (l *listener) left(network string, c *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.open[network], c); len(l.open[network]) == 0 {
		delete(l.open, network)
	}
}

// expel closes the connections that a network has open: who floods need not be
// answered any more.
func (l *listener) expel(network netip.Prefix) {
	var out []*counted
	l.mu.Lock()
	for _, conns := range l.open {
		for c := range conns {
			if !network.Contains(c.addr) {
				break // all of them are of one address, or of one /64
			}
			out = append(out, c)
		}
	}
	l.mu.Unlock()
	for _, c := range out {
		_ = c.Close()
	}
}

// drop closes a connection without the courtesy of waiting for what is on its way.
func drop(c net.Conn) net.Conn {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
	return nil
}

// Close closes the port.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// counted is one of its network's connections until it is closed.
type counted struct {
	net.Conn
	addr  netip.Addr
	leave func()
	told  atomic.Pointer[func()]
}

// Close closes the connection.
func (c *counted) Close() error {
	c.leave()
	err := c.Conn.Close()
	if f := c.told.Load(); f != nil {
		(*f)()
	}
	return err
}

// OnClose has f called when the connection is closed here, since that of a network that
// is banned is closed by others than who serves it. It may be called more than once,
// and must not wait.
func (c *counted) OnClose(f func()) { c.told.Store(&f) }

// Carrier is the connection that is counted (quietconn.Transparent).
func (c *counted) Carrier() net.Conn { return c.Conn }

// forwarded is a connection whose client is another than its peer.
type forwarded struct {
	net.Conn
	from net.Addr
}

// Carrier is the proxy's connection, of which nothing but the header was read
// (quietconn.Transparent).
func (c *forwarded) Carrier() net.Conn { return c.Conn }

// RemoteAddr is the client's.
func (c *forwarded) RemoteAddr() net.Addr { return c.from }

// addrOf returns the address within a, without a port.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
