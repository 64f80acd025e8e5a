// Package testkit starts real servers for tests: each on free loopback ports,
// waited for until it answers, and ended by its process id when the test ends.
// Only tests import it. A server that is not installed fails the test: it is
// never skipped. Start reading at Start, Redis, Postgres and Consul.
package testkit

import (
	"net"
	"strconv"
	"testing"
)

// FreePorts returns n different loopback TCP ports that were free a moment ago.
func FreePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports := make([]int, n)
	held := make([]net.Listener, 0, n) // until all are found, so that none is given twice
	defer func() {
		for _, lis := range held {
			_ = lis.Close()
		}
	}()
	for i := range n {
		var lc net.ListenConfig
		lis, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatalf("free port: %v", err)
		}
		held = append(held, lis)
		addr, ok := lis.Addr().(*net.TCPAddr)
		if !ok {
			tb.Fatalf("free port: %v is not a TCP address", lis.Addr())
		}
		ports[i] = addr.Port
	}
	return ports
}

// FreeAddr returns 127.0.0.1:port with a port that was free a moment ago.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	return Loopback(FreePorts(tb, 1)[0])
}

// Loopback returns the port on this machine as host:port.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
