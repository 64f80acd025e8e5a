// Package quietconn tells of a connection that was kept whether it may carry another
// request. It knows no protocol; start reading at Probe.
package quietconn

import "net"

// Quiet is Probe.Quiet of a connection that is looked at now and then.
func Quiet(c net.Conn) bool { return New(c).Quiet() }
