package callwire

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// PoolOptions is how connections are made and how many.
type PoolOptions struct {
	// Credentials are those of ordinary calls.
	Credentials credentials.TransportCredentials
	// Streams says that the connections are for streams, and not for calls with one answer.
	Streams bool
	// PerAddress bounds the connections to one address, and so the calls in hand that go
	// this way.
	PerAddress int
	// DialTimeout bounds one attempt to connect, with its handshake.
	DialTimeout time.Duration
	// KeepaliveTime is how long a silent connection is trusted before TCP asks, and of one
	// with a stream we do, and KeepaliveTimeout how long the answer may take.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// MaxRecvBytes bounds one answer.
	MaxRecvBytes int
}

const (
	// again is for how long an address is left alone that does not take calls this way.
	again = 30 * time.Second
	// spare is how long a connection is kept that the calls have no use for.
	spare = 2 * time.Minute
	// some is how many connections are few enough to make another when it is missed, and
	// ahead how many are made before they are.
	some, ahead = 16, 64
)

// Pool is the connections of one client. It is safe for concurrent use.
type Pool struct {
	opts PoolOptions
	base context.Context //nolint:containedctx // of what is dialled; it ends with Close
	end  context.CancelFunc

	lent

	mu     sync.Mutex
	addrs  map[string]*address
	closed bool
}

// address is the connections to one address.
type address struct {
	idle    []*clientConn // the last one was used last
	open    int           // with those in use
	dialing int
	until   time.Time // it is left alone
}

// NewPool returns a pool that connects when it is asked.
func NewPool(o PoolOptions) *Pool {
	p := &Pool{opts: o, addrs: make(map[string]*address), lent: newLent()}
	p.base, p.end = context.WithCancel(context.Background())
	return p
}

// Close closes the connections; those in use end with their calls.
func (p *Pool) Close() {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.keep(func(string) bool { return false })
}

// Keep closes what is idle to other addresses than those.
func (p *Pool) Keep(addrs map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(func(addr string) bool { return addrs[addr] })
}

func (p *Pool) keep(wanted func(addr string) bool) {
	for addr, a := range p.addrs {
		if wanted(addr) {
			continue
		}
		for _, c := range a.idle {
			a.open--
			_ = c.conn.Close()
		}
		if a.idle = nil; a.open == 0 && a.dialing == 0 {
			delete(p.addrs, addr)
		}
	}
}

// take returns an idle connection, or nil: a call never waits for one. One is made for
// later calls when there was none, and where there are many, some ahead.
func (p *Pool) take(addr string) *clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	a := p.addrs[addr]
	if a == nil {
		a = new(address)
		p.addrs[addr] = a
	}
	c := a.take()
	if c != nil && a.open < some || now().Before(a.until) {
		return c
	}
	for a.open < p.opts.PerAddress && len(a.idle)+a.dialing < min(1+a.open/8, ahead) {
		a.dialing++
		a.open++
		go p.dial(addr, a)
	}
	return c
}

func (a *address) take() *clientConn {
	for len(a.idle) > 0 {
		last := len(a.idle) - 1
		c := a.idle[last]
		a.idle[last], a.idle = nil, a.idle[:last]
		if c.probe.Quiet() {
			return c
		}
		a.open--
		_ = c.conn.Close()
	}
	return nil
}

// put takes a connection back after a call; usable says whether it can take another.
func (p *Pool) put(c *clientConn, usable bool) {
	if usable && p.opts.Streams {
		usable = c.r.Buffered() == 0 && c.conn.SetReadDeadline(time.Time{}) == nil
	}
	if spare := p.keeps(c, usable); spare != nil {
		_ = spare.conn.Close() // which may take a while with TLS
	}
}

// keeps returns what is to be closed, which may be c, or nil.
func (p *Pool) keeps(c *clientConn, usable bool) *clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.addrs[c.addr]
	if !usable || p.closed || a == nil {
		if a != nil {
			a.open--
		}
		return c
	}
	c.used = now()
	a.idle = append(a.idle, c)
	if old := a.idle[0]; old != c && c.used.Sub(old.used) > spare {
		a.idle = a.idle[1:]
		a.open--
		return old
	}
	return nil
}

func (p *Pool) dial(addr string, a *address) {
	ctx, cancel := context.WithTimeout(p.base, p.opts.DialTimeout)
	defer cancel()
	c, err := p.connect(ctx, addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	a.dialing--
	switch {
	case err != nil:
		a.open--
		a.until = now().Add(again)
	case p.closed || p.addrs[addr] != a:
		a.open--
		_ = c.conn.Close()
	default:
		c.used = now()
		a.idle = append(a.idle, c)
	}
}

// connect opens a connection and hears that calls are taken on it.
func (p *Pool) connect(ctx context.Context, addr string) (_ *clientConn, err error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: p.opts.KeepaliveTime, Interval: max(time.Second, p.opts.KeepaliveTimeout/2), Count: 2,
	}}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, unexpected("connect", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(longAgo()) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = raw.Close()
		}
	}()
	conn, _, err := p.opts.Credentials.ClientHandshake(ctx, addr, raw)
	if err != nil {
		return nil, unexpected("handshake", err)
	}
	say := preface
	if p.opts.Streams {
		say = streamPreface
	}
	c := newClientConn(addr, conn, raw, p.ahead)
	if _, err := conn.Write([]byte(say)); err != nil {
		return nil, unexpected("preface", err)
	}
	said, err := c.r.Peek(len(preface))
	if err != nil {
		return nil, unexpected("preface", err)
	}
	if string(said) != say {
		return nil, unexpected("preface", errMalformed)
	}
	_, err = c.r.Discard(len(preface))
	if p.opts.Streams {
		c.ask, c.patience = p.opts.KeepaliveTime, p.opts.KeepaliveTimeout
	}
	return c, err
}
