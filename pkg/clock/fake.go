package clock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Fake is a clock that moves only when Advance is called. It is safe for use
// by several goroutines at once.
type Fake struct {
	mu      sync.Mutex
	now     time.Time
	waiters []*fakeTimer
	changed chan struct{}
}

// NewFake returns a Fake that shows start.
func NewFake(start time.Time) *Fake {
	return &Fake{now: start, changed: make(chan struct{})}
}

// Now returns the instant the fake shows.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock by d and fires, in the order in which they are due,
// every timer and ticker whose instant is reached.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.now.Add(d)
	for {
		next := f.next(end)
		if next == nil {
			break
		}
		f.now = next.due
		next.fire(f.now)
		if next.every > 0 {
			next.due = next.due.Add(next.every)
		} else {
			f.remove(next)
		}
	}
	f.now = end
}

// BlockUntil waits until at least n timers and tickers are armed, so that a
// test advances only once the code under test waits. It returns ctx's cause
// when ctx ends first.
func (f *Fake) BlockUntil(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		armed, changed := len(f.waiters), f.changed
		f.mu.Unlock()
		if armed >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// NewTimer returns a timer on the fake's time; one that is due at once fires
// at once.
func (f *Fake) NewTimer(d time.Duration) Timer {
	t := &fakeTimer{clock: f, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// NewTicker returns a ticker on the fake's time.
func (f *Fake) NewTicker(d time.Duration) Ticker {
	if d <= 0 {
		panic("clock: a ticker needs a positive period")
	}
	t := &fakeTimer{clock: f, c: make(chan time.Time, 1), every: d}
	t.Reset(d)
	return fakeTicker{t}
}

// next returns the earliest waiter due by end; f.mu is held.
func (f *Fake) next(end time.Time) *fakeTimer {
	var first *fakeTimer
	for _, w := range f.waiters {
		if !w.due.After(end) && (first == nil || w.due.Before(first.due)) {
			first = w
		}
	}
	return first
}

// remove takes w out and reports whether it was armed; f.mu is held.
func (f *Fake) remove(w *fakeTimer) bool {
	i := slices.Index(f.waiters, w)
	if i < 0 {
		return false
	}
	f.waiters = slices.Delete(f.waiters, i, i+1)
	return true
}

type fakeTimer struct {
	clock *Fake
	c     chan time.Time
	due   time.Time
	every time.Duration
}

func (t *fakeTimer) C() <-chan time.Time { return t.c }

func (t *fakeTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.drain()
	return t.clock.remove(t)
}

func (t *fakeTimer) Reset(d time.Duration) bool {
	f := t.clock
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.remove(t)
	t.drain()
	t.due = f.now.Add(d)
	if d <= 0 && t.every == 0 {
		t.fire(f.now)
		return was
	}
	f.waiters = append(f.waiters, t)
	close(f.changed)
	f.changed = make(chan struct{})
	return was
}

// drain drops a value nobody read, as time.Timer does since Go 1.23.
func (t *fakeTimer) drain() {
	select {
	case <-t.c:
	default:
	}
}

func (t *fakeTimer) fire(now time.Time) {
	select {
	case t.c <- now:
	default:
	}
}

type fakeTicker struct{ t *fakeTimer }

func (t fakeTicker) C() <-chan time.Time { return t.t.c }
func (t fakeTicker) Stop()               { t.t.Stop() }
