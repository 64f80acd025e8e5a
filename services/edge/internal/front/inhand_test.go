package front

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// requestOf is what tells of the end of the request that ctx is of.
func requestOf(ctx context.Context, t *testing.T) inhand.Request {
	t.Helper()
	r, ok := ctx.Value(inhand.RequestKey{}).(inhand.Request)
	if !ok || r.Current() != ctx {
		t.Errorf("%v is the current one", r)
	}
	return r
}

// What is to end with a request is ended when its client leaves.
func TestOthersEndWithTheirRequest(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	c := dial(t, start(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		ctx := req.Context()
		r := requestOf(ctx, t)
		done := make(chan struct{})
		if !r.OnEnd(ctx, func() { close(done) }) || r.OnEnd(ctx, func() {}) {
			t.Error("one thing is called, and no other")
		}
		close(begun)
		<-done
		if ctx.Err() == nil || r.OnEnd(ctx, func() {}) {
			t.Error("the request has ended before")
		}
		close(ended)
	}), nil).addr)
	_, _ = io.WriteString(c, get)
	wait(t, begun, "the request")
	_ = c.Close()
	wait(t, ended, "its end")
}

// It is ended when the handler has returned, unless it was forgotten; and a request whose
// time is over has no part in the next one.
func TestOthersEndWithTheirHandler(t *testing.T) {
	ends := 0
	var before context.Context
	c := dial(t, start(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		ctx := req.Context()
		r := requestOf(ctx, t)
		if before == nil {
			r.OnEnd(ctx, func() { ends += 100 })
			r.Forget(ctx)
		} else if r.OnEnd(before, func() { ends += 100 }) {
			t.Error("the first request goes on")
		}
		if !r.OnEnd(ctx, func() { ends++ }) {
			t.Error("there is no room")
		}
		if before != nil {
			r.Forget(before)
		}
		before = ctx //nolint:fatcontext // it is made of nothing
	}), nil).addr)
	in := bufio.NewReader(c)
	for range 2 {
		send(t, c, in, get)
	}
	_ = c.Close()
	if ends != 2 {
		t.Errorf("it was called %d times", ends)
	}
}

// A client that leaves ends the request that it left. What has begun by the time that its
// end is told, of what was sent before, goes on.
func TestALeavingClientEndsNoRequestThatBeginsMeanwhile(t *testing.T) {
	c := new(conn)
	ends, begun := 0, false
	ctx, cancel := context.WithCancel(t.Context())
	next, stop := context.WithCancel(t.Context())
	defer stop()
	// Its handler returns as its context ends, and another request is begun.
	c.begin(ctx, func() {
		cancel()
		if begun {
			return
		}
		begun = true
		c.setBusy(false)
		c.begin(next, stop, false)
		if !c.OnEnd(next, func() { ends++ }) {
			t.Error("the next request is not the current one")
		}
	}, true)
	c.peerLeft()
	if ctx.Err() == nil || !begun {
		t.Fatal("the request that was left goes on")
	}
	if next.Err() != nil || ends != 0 {
		t.Errorf("the next request has ended: %v, and what was to end with it %d times", next.Err(), ends)
	}
	c.bodyRead() // all that was sent was read, and nobody waits for the answer
	if next.Err() == nil || ends != 1 {
		t.Errorf("the next request: %v, and what ends with it ended %d times", next.Err(), ends)
	}
}
