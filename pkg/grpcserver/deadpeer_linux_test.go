package grpcserver

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAcceptedConnectionsNoticeDeadPeers(t *testing.T) {
	cfg := DefaultConfig("127.0.0.1:0")
	cfg.KeepaliveTime, cfg.SendTimeout, cfg.KeepaliveTimeout = 20*time.Second, 25*time.Second, 6*time.Second
	lc := cfg.listenConfig()
	lis, err := lc.Listen(t.Context(), "tcp", cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn() //nolint:errcheck // it is TCP
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for name, c := range map[string]struct{ level, option, want int }{
			"unacknowledged, ms": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 31000},
			"kept alive":         {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			"after a silence, s": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 20},
			"every, s":           {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 3},
		} {
			if got, err := unix.GetsockoptInt(int(fd), c.level, c.option); err != nil || got != c.want {
				t.Errorf("%s: %d, %v, not %d", name, got, err, c.want)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
