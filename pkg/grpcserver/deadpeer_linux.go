package grpcserver

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged bounds for how long what was sent may be without an acknowledgement
// (TCP_USER_TIMEOUT, tcp(7)); accepted connections have it of the socket that listens.
func unacknowledged(most time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(most.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}
