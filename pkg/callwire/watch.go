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
	timer  *time.Timer

	mu    sync.Mutex
	over  bool
	ended chan struct{} // closed by the goroutine that watches; nil while there is none
	gone  bool
}

func watch(c *serverConn, cancel context.CancelCauseFunc) *watcher {
	w := &watcher{conn: c, cancel: cancel}
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
		_, err := w.conn.r.Peek(1)
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
