package respcache

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// ErrAbandoned ends a flight whose leader could not begin it: those who wait for it
// try again.
var ErrAbandoned = errors.New("respcache: whoever asked first did not begin")

// Flight is one answer in the making, for everybody who asked the same. It does not
// end with the one who asked first, but when nobody waits any more. It is safe for
// concurrent use.
type Flight struct {
	max  int
	end  func(*Flight) // leaves the flights that can be joined
	stop context.CancelFunc

	mu          sync.Mutex
	changed     chan struct{} // closed at the next change
	by          *inferencev1.ServedBy
	streamed    bool
	chunks      [][]byte
	base        int // chunks before it were dropped
	bytes       int // of chunks
	front       int // how far the first reader is
	usage       *commonv1.TokenUsage
	annotations []*edgev1.Annotation
	waiting     int
	done        bool
	whole       bool // nothing was dropped
	err         error
	over        chan struct{} // closed once the work has ended
}

func newFlight(maxBytes int, end func(*Flight)) *Flight {
	return &Flight{max: maxBytes, end: end, changed: make(chan struct{}), over: make(chan struct{}), whole: true, waiting: 1}
}

// change has those who wait look again; f.mu is held.
func (f *Flight) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Rest notes what the answer rests on.
func (f *Flight) Rest(annotations []*edgev1.Annotation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.annotations = annotations
}

// Served notes who answers.
func (f *Flight) Served(by *inferencev1.ServedBy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = by
	f.change()
}

// Whole gives everybody the whole answer.
func (f *Flight) Whole(by *inferencev1.ServedBy, body []byte, usage *commonv1.TokenUsage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by, f.usage, f.chunks, f.bytes = by, usage, [][]byte{body}, len(body)
	f.change()
}

// Chunk gives everybody a chunk of a stream. It waits while even the fastest reader
// is far behind, until ctx ends.
func (f *Flight) Chunk(ctx context.Context, chunk []byte, usage *commonv1.TokenUsage) error {
	f.mu.Lock()
	f.streamed = true
	for f.ahead() > f.max {
		wait := f.changed
		f.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		f.mu.Lock()
	}
	f.chunks = append(f.chunks, chunk)
	f.bytes += len(chunk) + perChunk
	if usage != nil {
		f.usage = usage
	}
	over := f.bytes > f.max && f.whole
	if f.bytes > f.max {
		f.whole = false
		f.trim()
	}
	f.change()
	f.mu.Unlock()
	if over {
		f.end(f) // who comes now cannot have its beginning
	}
	return nil
}

// ahead is how many bytes the fastest reader has yet to take; f.mu is held.
func (f *Flight) ahead() (n int) {
	for _, c := range f.chunks[min(max(f.front-f.base, 0), len(f.chunks)):] {
		n += len(c) + perChunk
	}
	return n
}

// trim drops what is more than the bound behind the fastest reader; f.mu is held.
func (f *Flight) trim() {
	for f.bytes > 2*f.max && f.base < f.front && len(f.chunks) > 0 {
		f.bytes -= len(f.chunks[0]) + perChunk
		f.chunks[0] = nil
		f.chunks = f.chunks[1:]
		f.base++
	}
}

// Used notes what the whole answer used.
func (f *Flight) Used(usage *commonv1.TokenUsage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if usage != nil {
		f.usage = usage
	}
}

// finish ends the flight, for everybody; nil says that the answer is whole.
func (f *Flight) finish(err error) {
	f.end(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.done, f.err = true, err
		close(f.over)
		f.change()
	}
}

// entry returns the answer, once it is whole; nil when there is none to keep.
func (f *Flight) entry() *Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.whole || f.by == nil || len(f.chunks) == 0 {
		return nil
	}
	return &Entry{By: f.by, Streamed: f.streamed, Chunks: slices.Clip(f.chunks), Usage: f.usage, Annotations: f.annotations}
}

// join adds somebody who waits; false: it is over.
func (f *Flight) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done || !f.whole || f.waiting == 0 {
		return false
	}
	f.waiting++
	return true
}

// leave takes somebody away; the last one ends the work.
func (f *Flight) leave() {
	f.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	f.mu.Unlock()
	if last {
		f.end(f)
		if f.stop != nil {
			f.stop()
		}
	}
}

// Reader reads a flight for one caller. It is for one goroutine.
type Reader struct {
	// Leads says that the caller is the one who has to begin.
	Leads bool

	flight *Flight
	at     int
	left   bool
}

// Piece is what comes next of an answer.
type Piece struct {
	By          *inferencev1.ServedBy
	Annotations []*edgev1.Annotation
	Chunk       []byte
	Usage       *commonv1.TokenUsage
	// Last says that the answer is whole, and there is no chunk.
	Last bool
	// Streamed says whether the chunk is one of a stream.
	Streamed bool
}

var errBehind = apierr.New(apierr.Overloaded, "the answer came faster than it was taken")

// Next waits for the next piece, until ctx ends. The error is the flight's.
func (r *Reader) Next(ctx context.Context) (Piece, error) {
	f := r.flight
	f.mu.Lock()
	for {
		if r.at < f.base {
			f.mu.Unlock()
			return Piece{}, errBehind
		}
		p := Piece{By: f.by, Annotations: f.annotations, Usage: f.usage, Streamed: f.streamed}
		if i := r.at - f.base; i < len(f.chunks) {
			p.Chunk = f.chunks[i]
			r.at++
			if r.at > f.front {
				if f.front = r.at; !f.whole {
					f.change() // the engine may wait for it
				}
			}
			f.mu.Unlock()
			return p, nil
		}
		if f.done {
			err := f.err
			f.mu.Unlock()
			p.Last = true
			return p, err
		}
		wait := f.changed
		f.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return Piece{}, context.Cause(ctx)
		}
		f.mu.Lock()
	}
}

// Pending reports whether another chunk is there already.
func (r *Reader) Pending() bool {
	f := r.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	return r.at >= f.base && r.at-f.base < len(f.chunks)
}

// Stopped returns what is closed once the work has ended that nobody waits for any
// more since r left; nil: others wait for it still, and it goes on.
func (r *Reader) Stopped() <-chan struct{} {
	f := r.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.left || f.waiting > 0 {
		return nil
	}
	return f.over
}

// Leave says that the caller waits no more. It may be called more than once.
func (r *Reader) Leave() {
	if !r.left {
		r.left = true
		r.flight.leave()
	}
}
