package grpcserver

import (
	"net"
	"time"
)

// listenConfig has the system notice clients that are gone without a word: those that are
// silent, as gRPC's pings do, and those that do not acknowledge what is sent, which a
// stream on a connection of package callwire has no ping for. A client that is there and
// takes nothing has the same time, which is more than that of a message.
func (c Config) listenConfig() net.ListenConfig {
	return net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: c.KeepaliveTime, Interval: max(time.Second, c.KeepaliveTimeout/2), Count: 2,
		},
		Control: unacknowledged(max(c.KeepaliveTime, c.SendTimeout) + c.KeepaliveTimeout),
	}
}
