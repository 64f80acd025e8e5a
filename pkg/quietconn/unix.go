//go:build unix

package quietconn

import (
	"errors"
	"net"
	"syscall"
)

// Probe looks at one connection, again and again, on one goroutine at a time.
type Probe struct {
	raw   syscall.RawConn // nil: it cannot be looked at
	ended bool
	look  func(fd uintptr) bool
	still bool
}

// New returns what looks at c.
func New(c net.Conn) *Probe {
	p := new(Probe)
	sc, ok := c.(syscall.Conn)
	if !ok {
		return p
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		p.ended = true
		return p
	}
	p.raw = raw
	p.look = func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.still = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	}
	return p
}

// Quiet reports whether the connection is open and nothing has come on it, which between
// two requests nothing may: it would be taken for the answer to the next one.
func (p *Probe) Quiet() bool {
	if p.raw == nil {
		return !p.ended
	}
	p.still = false
	err := p.raw.Read(p.look)
	return err == nil && p.still
}
