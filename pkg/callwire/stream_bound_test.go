package callwire_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/callwire"
)

// More connections than are allowed are closed, and calls go in the ordinary way.
func TestServersTakeSoManyConnections(t *testing.T) {
	w := newWaiting()
	n := serve(t, &w.service, plain(), func(o *callwire.ServerOptions) { o.MaxConnections = 1 })
	l := lineTo(t, n, 2)
	begun(t, l.open(t, t.Context()))
	for range 50 {
		if l.pool.Open(t.Context(), l.addr, callwire.Stream{Method: streamMethod}) != nil {
			t.Fatal("a second stream was carried")
		}
		<-time.After(time.Millisecond)
	}
	close(w.release)
}
