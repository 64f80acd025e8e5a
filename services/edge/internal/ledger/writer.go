package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/backlog"
)

const (
	maxBatch      = 512
	flushInterval = 200 * time.Millisecond
	minRetry      = 100 * time.Millisecond
	maxRetry      = 5 * time.Second
	writeTimeout  = 10 * time.Second
)

// Store keeps entries.
type Store interface {
	Write(ctx context.Context, holder string, entries []Entry) (int, error)
}

// Turn runs fn while nobody else changes what this process holds, and then after, if
// fn did not fail.
type Turn func(ctx context.Context, fn func(ctx context.Context) error, after func()) error

// WriterDeps is what a Writer works with; all of it is needed but Journal.
type WriterDeps struct {
	Store Store
	// Journal keeps what the store does not have yet; nil: it is lost with the process.
	Journal *Journal
	// Holder is by what this process holds of budgets.
	Holder string
	Turn   Turn
	// Written is told of entries that the store has, within a turn.
	Written func(entries []Entry)
	// Failed is told of every write that failed.
	Failed func(ctx context.Context)
	// QueueSize bounds the entries that wait.
	QueueSize int
	Clock     clock.Clock
	Log       *slog.Logger
}

// Writer takes entries and has the store keep them, in batches. It is safe for
// concurrent use.
type Writer struct {
	WriterDeps

	wake, full chan struct{}

	mu       sync.Mutex
	queue    backlog.Queue[Entry]
	first    int64 // the number of the queue's first entry
	appended int64
	behind   error

	writing chan struct{}
}

// NewWriter returns a writer. Its component must run for entries to be written.
func NewWriter(d WriterDeps) *Writer {
	return &Writer{WriterDeps: d, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), writing: make(chan struct{}, 1), first: 1}
}

// Put takes an entry: when it returns, the entry survives this process. An error
// says that it may not; it is written all the same.
func (w *Writer) Put(e *Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if w.Journal != nil {
		_, err = w.Journal.Append(e)
	}
	w.appended++
	w.queue.Append(e)
	signal(w.wake)
	if w.queue.Len() >= maxBatch {
		signal(w.full)
	}
	return err
}

// Refusing returns why no more entries should be made; nil when all is well.
func (w *Writer) Refusing() error {
	if w.Journal != nil {
		if err := w.Journal.Failed(); err != nil {
			signal(w.wake)
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue.Len() < w.QueueSize {
		return nil
	}
	return errors.Join(errors.New("ledger: too many entries wait for the store"), w.behind)
}

// Flush writes all entries that wait now, or returns why it could not.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	goal := w.appended
	w.mu.Unlock()
	for {
		w.mu.Lock()
		reached := w.first > goal
		w.mu.Unlock()
		if reached {
			return nil
		}
		if err := w.writeBatch(ctx); err != nil {
			return err
		}
	}
}

func (w *Writer) writeBatch(ctx context.Context) error {
	select {
	case w.writing <- struct{}{}:
		defer func() { <-w.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.mu.Lock()
	batch := w.queue.First(maxBatch)
	last := w.first + int64(len(batch)) - 1
	w.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.Turn(ctx, func(ctx context.Context) error {
		_, err := w.Store.Write(ctx, w.Holder, batch)
		return err
	}, func() { w.Written(batch) })
	w.mu.Lock()
	if w.behind = err; err == nil {
		w.queue.Remove(len(batch))
		w.first = last + 1
	}
	w.mu.Unlock()
	if err != nil {
		w.Failed(ctx)
		if w.Journal != nil {
			err = errors.Join(err, w.Journal.Sync()) // it may be there for long
		}
		return err
	}
	if w.Journal != nil {
		if err := w.Journal.Written(last); err != nil {
			w.Log.ErrorContext(ctx, "the usage journal cannot be cut short", telemetry.Err(err))
		}
	}
	return nil
}

// Component returns the part that writes. Start it before whatever serves requests,
// so that it is drained after.
func (w *Writer) Component() lifecycle.Component {
	return lifecycle.Component{Name: "usage", Run: w.run, Drain: w.Flush, Stop: w.stop}
}

func (w *Writer) run(ctx context.Context) error {
	retry := minRetry
	for w.await(ctx) {
		if err := w.Flush(ctx); err == nil {
			retry = minRetry
		} else if ctx.Err() == nil {
			w.Log.ErrorContext(ctx, "usage cannot be written; it is kept and tried again", telemetry.Err(err))
			_ = clock.Sleep(ctx, w.Clock, retry) // ended early: await sees it too
			retry = min(2*retry, maxRetry)
			signal(w.wake)
		}
	}
	return nil
}

func (w *Writer) await(ctx context.Context) bool {
	select {
	case <-w.wake:
	case <-ctx.Done():
		return false
	}
	timer := w.Clock.NewTimer(flushInterval)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-w.full:
	case <-ctx.Done():
		return false
	}
	return true
}

// stop has one last try; what is not written stays in the journal.
func (w *Writer) stop(ctx context.Context) error { return w.Flush(ctx) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
