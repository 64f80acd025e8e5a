package front

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkRequest is a request of a kept connection with a client in the same process,
// whose part is the same on either side.
func BenchmarkRequest(b *testing.B) {
	answer := []byte(strings.Repeat("x", 700))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		header := w.Header()
		for _, name := range []string{"X-Request-Id", "Traceparent", "Cache-Control", "Content-Type", "X-Poterne-Model", "X-Content-Type-Options"} {
			header[name] = []string{"a value of some length"}
		}
		_, _ = w.Write(answer)
	})
	std := newHTTP(h, io.Discard)
	lis := listen(b)
	go func() { _ = std.Serve(lis) }()
	b.Cleanup(func() { _ = std.Close() })
	request := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAuthorization: Bearer " + strings.Repeat("k", 700) +
		"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("y", 100))
	for name, addr := range map[string]string{"net-http": lis.Addr().String(), "front": start(b, h, nil).addr} {
		b.Run(name, func(b *testing.B) {
			c := dial(b, addr)
			buf := make([]byte, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
