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
		p.still = quietNow(fd)
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

// RawOf returns the kernel's side of c, or nil when there is more between than what is
// Transparent: gRPC's connections of TLS are syscall.Conn as well, of what is encrypted.
func RawOf(c net.Conn) syscall.RawConn {
	var kernel syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		kernel = c
	case *net.UnixConn:
		kernel = c
	case Transparent:
		return RawOf(c.Carrier())
	default:
		return nil
	}
	raw, err := kernel.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

func quietNow(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
}

// ReadNow reads what is there, as a step of syscall.RawConn's Read; done is false when
// nothing is.
func ReadNow(fd uintptr, p []byte) (n int, done bool, err error) {
	for {
		// Not unix.Read: package net writes by syscall's, and the race detector knows that
		// what was written happened before it is read within one of the two.
		n, err = syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, false, nil
		default:
			return max(n, 0), true, err
		}
	}
}

// WriteNow writes what there is room for, and returns how much that was, as a step of
// syscall.RawConn's Write: none where something is wrong.
func WriteNow(fd uintptr, p []byte) int {
	n, err := syscall.Write(int(fd), p)
	if err != nil {
		return 0
	}
	return n
}
