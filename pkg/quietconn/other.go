//go:build !unix

package quietconn

import "net"

// Probe looks at one connection.
type Probe struct{}

// New returns what looks at a connection.
func New(net.Conn) *Probe { return new(Probe) }

// Quiet cannot tell here; a connection that was closed is found out by its use.
func (*Probe) Quiet() bool { return true }
