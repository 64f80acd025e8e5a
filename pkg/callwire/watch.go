package callwire

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// unwatched is for how long nobody looks whether the client of a call is still there: a
// short call is over before, and needs no second goroutine.
const unwatched = 5 * time.Millisecond

var errGone = errors.New("callwire: the client has closed the connection")

// watcher cancels a call whose client closes the connection.
type watcher struct {
	conn   *serverConn
	cancel context.CancelCauseFunc
	pinged func() bool // nil: the client may not ask
	timer  *time.Timer

	mu    sync.Mutex
	over  bool
	ended chan struct{} // closed by the goroutine that watches; nil while there is none
	gone  bool
}

// watch begins with a call. pinged answers a client that asks whether the server is there,
// and reports whether it may.
func watch(c *serverConn, cancel context.CancelCauseFunc, pinged func() bool) *watcher {
	w := &watcher{conn: c, cancel: cancel, pinged: pinged}
	w.mu.Lock() // the timer may fire before it is kept
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(unwatched, w.run) //nolint:forbidigo // as the deadlines of connections
	return w
}

func (w *watcher) run() {
	if !w.begin() {
		return
	}
	defer close(w.ended)
	for {
		err := w.next()
		if err == nil { // it asked, and was answered
			continue
		}
		w.mu.Lock()
		over, timedOut := w.over, errors.Is(err, os.ErrDeadlineExceeded)
		if timedOut && !over { // somebody drains
			_ = w.conn.conn.SetReadDeadline(time.Time{})
		}
		w.gone = w.gone || !timedOut
		w.mu.Unlock()
		if !timedOut { // closed, or says more than it may
			w.cancel(errGone)
		}
		if over || !timedOut {
			return
		}
	}
}

// next returns what ends the waiting for the client, or nil when it asked.
func (w *watcher) next() error {
	b, err := w.conn.r.Peek(prefixBytes)
	switch {
	case err != nil && len(b) > 0 && b[0] != kindPing:
		return errGone
	case err != nil:
		return err
	case w.pinged == nil || string(b) != ping || !w.pinged():
		return errGone
	}
	_, _ = w.conn.r.Discard(prefixBytes) // it was peeked at
	return nil
}

func (w *watcher) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	w.ended = make(chan struct{})
	_ = w.conn.conn.SetReadDeadline(time.Time{})
	return true
}

// stop ends the watch, after which the connection is its goroutine's alone again, and
// reports whether the client was there all the time.
func (w *watcher) stop() bool {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	ended := w.ended
	if ended != nil {
		_ = w.conn.conn.SetReadDeadline(longAgo())
	}
	w.mu.Unlock()
	if ended == nil {
		return true
	}
	<-ended
	return !w.gone
}
