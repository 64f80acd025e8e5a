package front

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/testkit"
)

// Connections in the clear that wait for a request, or for more of an answer, hold no
// buffer to read into. Here one is so large that it would be seen.
func TestConnectionsThatWaitHoldNoBufferToRead(t *testing.T) {
	const size, many = 1 << 20, 32
	leave := make(chan struct{})
	srv := New(newHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
			<-leave
		}
	}), io.Discard), 2*many)
	srv.pool = buffers.New(size, size)
	lis := listen(t)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(lis) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	defer close(leave)
	before := testkit.Heap()
	for range many {
		for _, path := range []string{"/", "/stream"} {
			c := dial(t, lis.Addr().String())
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := c.Read(make([]byte, 512)); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := 0
	for range 100 { // the latest may be on its way to wait
		if held = testkit.Heap() - before; held < many/4*size {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("%d that wait hold %d bytes", 2*many, held)
}
