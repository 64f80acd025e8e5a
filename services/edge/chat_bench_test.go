package edge_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
)

// BenchmarkChat is a chat over a kept connection, the pretended backend and a client that
// costs little included.
func BenchmarkChat(b *testing.B) {
	g, addr, _ := serve(b, nil)
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	body := fmt.Sprintf(sayHi, "small", "")
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", chatPath, g.key, len(body), body)
	buf := make([]byte, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := c.Read(buf)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
			b.Fatalf("%v: %s", err, buf[:n])
		}
	}
}
