package imports

import (
	"context"
	"errors"
	"io"

	"github.com/poterne/poterne/pkg/apierr"
)

// batch is lines that are taken in together.
type batch struct {
	lines []Line
	bytes int
	ids   map[string]bool
	// after are batches in hand that hold an id of this one: the later line of an
	// id is the one that stays.
	after []*batch
	// done gets the outcome; settled is closed then.
	done    chan outcome
	settled chan struct{}
}

func newBatch() *batch {
	return &batch{ids: make(map[string]bool), done: make(chan outcome, 1), settled: make(chan struct{})}
}

// part is what one receive gave.
type part struct {
	lines []Line
	err   error
}

// receive hands on what the stream brings, one part at a time: as long as
// nobody takes it, no more is read.
func receive(ctx context.Context, s Stream) <-chan part {
	out := make(chan part)
	go func() {
		for {
			lines, err := s.Recv()
			select {
			case out <- part{lines, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// gather makes batches of what comes, until its end. The error is why that is
// not a whole one.
func (r *run) gather(ctx context.Context, in <-chan part) error {
	r.open = newBatch()
	idle := r.o.Clock.NewTimer(r.o.Idle)
	defer idle.Stop()
	linger := r.o.Clock.NewTimer(r.o.Linger)
	defer linger.Stop()
	for {
		select {
		case p := <-in:
			if err := r.take(ctx, p.lines); err != nil {
				return err
			}
			if errors.Is(p.err, io.EOF) {
				return r.dispatch(ctx)
			}
			if p.err != nil {
				return p.err
			}
			linger.Reset(r.o.Linger)
			idle.Reset(r.o.Idle)
		case <-linger.C():
			if err := r.dispatch(ctx); err != nil {
				return err
			}
			idle.Reset(r.o.Idle) // the wait for room was ours
		case <-idle.C():
			if len(r.slots) > 0 { // its sender may wait for what becomes of them
				idle.Reset(r.o.Idle)
				continue
			}
			return apierr.New(apierr.DeadlineExceeded, "nothing was sent for %v", r.o.Idle)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take puts lines into batches.
func (r *run) take(ctx context.Context, lines []Line) error {
	for _, l := range lines {
		if l.Number == 0 {
			l.Number = r.last + 1
		}
		if l.Number <= r.last {
			return apierr.Invalid("lines", "lines: number %d comes after %d", l.Number, r.last)
		}
		r.last = l.Number
		size := len(l.Document.Text) + len(l.Document.Content)
		full := len(r.open.lines) == r.o.BatchDocuments || r.open.bytes+size > r.o.BatchBytes
		// A line that is wrong, or whose document has no id, replaces no other.
		named := l.Err == nil && l.Document.ID != ""
		if full || named && r.open.ids[l.Document.ID] {
			if err := r.dispatch(ctx); err != nil {
				return err
			}
		}
		r.open.lines, r.open.bytes = append(r.open.lines, l), r.open.bytes+size
		if named {
			r.open.ids[l.Document.ID] = true
		}
	}
	return nil
}

// dispatch has the open batch taken in, as soon as there is room for one more:
// this is where a stream that is faster than the model is held up.
func (r *run) dispatch(ctx context.Context) error {
	b := r.open
	if len(b.lines) == 0 {
		return nil
	}
	r.open = newBatch()
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, other := range r.recent {
		for id := range b.ids {
			if other.ids[id] {
				b.after = append(b.after, other)
				break
			}
		}
	}
	if r.recent = append(r.recent, b); len(r.recent) > r.o.Window {
		r.recent = r.recent[1:]
	}
	r.queue <- b // it has room for as many as there are slots
	r.hands.Go(func() {
		defer close(b.settled)
		b.done <- r.settle(ctx, b)
	})
	return nil
}
