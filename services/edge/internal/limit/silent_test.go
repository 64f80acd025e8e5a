package limit

import (
	"net"
	"testing"
)

// silent returns the address of a server that accepts and never answers.
func silent(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	t.Cleanup(func() {
		_ = lis.Close()
		<-accepted
	})
	go func() {
		defer close(accepted)
		var conns []net.Conn
		for {
			conn, err := lis.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	return lis.Addr().String()
}
