// Package quietconn is for who asks on a connection that was kept: Probe tells whether it
// may carry another request, and Asker writes that and waits for the answer. Reader is for
// many that wait: it holds no buffer meanwhile. It knows no protocol.
package quietconn

import "net"

// Transparent is a connection that passes the bytes of another on as they are, which may
// be read there as well. It is not crypto/tls's NetConn, whose bytes are others.
type Transparent interface {
	net.Conn
	// Carrier is the other one.
	Carrier() net.Conn
}
