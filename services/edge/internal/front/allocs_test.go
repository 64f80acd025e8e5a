package front

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The most that a request of a kept connection may allocate with its fields and its
// answer, the client's part and the handler's included: some 14 in an ordinary build, 16
// under the race detector.
const requestAllocs = 18

func TestARequestAllocatesLittle(t *testing.T) {
	answer, value := []byte(strings.Repeat("x", 700)), []string{"a value of some length"}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body [200]byte
		_, _ = r.Body.Read(body[:])
		header := w.Header()
		for _, name := range []string{"X-Request-Id", "Traceparent", "Cache-Control", "Content-Type", "X-Poterne-Model", "X-Content-Type-Options"} {
			header[name] = value
		}
		_, _ = w.Write(answer)
	})
	c := dial(t, start(t, h, nil).addr)
	request := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAuthorization: Bearer k\r\n" +
		"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("y", 100)
	buf := make([]byte, 4<<10)
	n := testing.AllocsPerRun(300, func() {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if t.Logf("a request allocates %.0f times", n); n > requestAllocs {
		t.Errorf("a request allocates %.0f times, want at most %d", n, requestAllocs)
	}
}
