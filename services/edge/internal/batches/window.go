package batches

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// window is how many requests of one batch are in hand at once. It grows by one for
// each round that is answered, and halves when there is no room for them: additive
// increase and multiplicative decrease (Chiu and Jain, 1989). It is safe for
// concurrent use.
type window struct {
	mu    sync.Mutex
	size  float64
	most  float64
	taken int
	cut   time.Time     // when it was last halved
	until time.Time     // nothing enters before
	freed chan struct{} // closed when there may be room
}

// firstWindow is the size that a batch begins with.
const firstWindow = 4

func newWindow(most int) *window {
	return &window{size: float64(min(firstWindow, most)), most: float64(most), freed: make(chan struct{})}
}

// enter waits for room.
func (w *window) enter(ctx context.Context, c clock.Clock) error {
	for {
		w.mu.Lock()
		if wait := w.until.Sub(c.Now()); wait > 0 {
			w.mu.Unlock()
			if err := clock.Sleep(ctx, c, wait); err != nil {
				return context.Cause(ctx)
			}
			continue
		}
		if float64(w.taken) < w.size {
			w.taken++
			w.mu.Unlock()
			return nil
		}
		freed := w.freed
		w.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *window) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken--
	close(w.freed)
	w.freed = make(chan struct{})
}

// hold lets nothing enter before then.
func (w *window) hold(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until.After(w.until) {
		w.until = until
	}
}

// answered notes that a request was.
func (w *window) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = min(w.most, w.size+1/w.size)
}

// crowded notes that there was no room for a request. Those that were in hand with it
// tell the same: it halves once a second.
func (w *window) crowded(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.cut) < time.Second {
		return
	}
	w.cut = now
	w.size = max(1, w.size/2)
}
