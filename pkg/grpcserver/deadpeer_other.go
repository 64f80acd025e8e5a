//go:build !linux

package grpcserver

import (
	"syscall"
	"time"
)

// unacknowledged cannot be said here: retransmissions end in the system's own time.
func unacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
