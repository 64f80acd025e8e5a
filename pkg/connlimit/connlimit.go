// Package connlimit bounds how many connections of a port are open at once. Unlike
// golang.org/x/net/netutil's, the connections let who serves them find the kernel's
// (quietconn.Transparent), so that those that wait need no buffer. Start reading at
// Listener.
package connlimit

import (
	"net"
	"sync"
	"sync/atomic"
)

// Listener returns lis with at most connections of its connections open: the next one is
// accepted when one of them is closed. It is safe for concurrent use, as are they.
func Listener(lis net.Listener, connections int) net.Listener {
	l := &listener{Listener: lis, slots: make(chan struct{}, connections), closed: make(chan struct{})}
	l.once = sync.OnceFunc(func() { close(l.closed) })
	return l
}

type listener struct {
	net.Listener
	slots  chan struct{} // one within for each that is open
	closed chan struct{}
	once   func()
}

// Accept waits for a slot, and then for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err //nolint:wrapcheck // whoever accepts knows the listener's errors
	}
	return &conn{Conn: c, slots: l.slots}, nil
}

// Close closes the port, and ends the waiting for a slot.
func (l *listener) Close() error {
	l.once()
	return l.Listener.Close() //nolint:wrapcheck // as above
}

// conn has a slot until it is closed.
type conn struct {
	net.Conn
	slots <-chan struct{}
	left  atomic.Bool
}

// Close closes the connection and gives the slot back, once.
func (c *conn) Close() error {
	err := c.Conn.Close()
	if !c.left.Swap(true) {
		<-c.slots
	}
	return err //nolint:wrapcheck // it is the connection's
}

// Carrier is what was accepted (quietconn.Transparent).
func (c *conn) Carrier() net.Conn { return c.Conn }
