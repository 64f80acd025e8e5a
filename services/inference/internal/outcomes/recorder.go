package outcomes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/clock"
)

// sweepEvery is after how many batches divisions that are not used any more are
// forgotten.
const sweepEvery = 600

// Options is what a Recorder needs.
type Options struct {
	Spool *Spool
	Clock clock.Clock
	Log   *slog.Logger
	// Interval is the time between two batches.
	Interval time.Duration
	// Queue is how many outcomes may wait to be added up.
	Queue int
	// Segments are the segments of tenants, by tenant.
	Segments map[string]string
}

// Recorder adds outcomes up and puts batches of them into the spool. It is safe for
// concurrent use.
type Recorder struct {
	opts Options

	mu      sync.Mutex
	waiting []Outcome
	spare   []Outcome     // what was added up last, empty
	filling chan struct{} // many wait: they are added up before the batch is due

	// unqueued are outcomes for which the queue had no room, lost those that were
	// added up and for which the spool had none; both since they were last told.
	unqueued atomic.Int64
	dropped  atomic.Int64 // all of them
	lost     int64
}

// NewRecorder returns a recorder; what it is given waits until Run.
func NewRecorder(opts Options) *Recorder {
	opts.Queue = max(opts.Queue, 1)
	return &Recorder{opts: opts, filling: make(chan struct{}, 1)}
}

// Record counts an outcome. It never waits, and mostly wakes nobody: where there is no
// room, the outcome counts as dropped.
func (r *Recorder) Record(o Outcome) {
	r.mu.Lock()
	n := len(r.waiting)
	if n < r.opts.Queue {
		r.waiting = append(r.waiting, o)
	}
	r.mu.Unlock()
	switch n {
	case r.opts.Queue:
		r.unqueued.Add(1)
		r.dropped.Add(1)
	case r.opts.Queue / 2:
		select {
		case r.filling <- struct{}{}:
		default:
		}
	}
}

// Dropped is how many outcomes were not counted.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

// Refused notes requests in a batch that the registry will never take.
func (r *Recorder) Refused(requests int64) {
	r.unqueued.Add(requests)
	r.dropped.Add(requests)
}

// Run adds up until ctx ends, and puts what is left into the spool then.
func (r *Recorder) Run(ctx context.Context) error {
	t := newTally(r.opts.Segments)
	since := r.opts.Clock.Now()
	for batches := 1; ; batches++ {
		timer := r.opts.Clock.NewTimer(r.opts.Interval)
		ended := r.collect(ctx, t, timer.C())
		timer.Stop()
		r.flush(ctx, t, &since)
		if ended {
			return nil
		}
		if batches%sweepEvery == 0 {
			t.sweep()
		}
	}
}

// collect adds up until it is time for a batch, or the end.
func (r *Recorder) collect(ctx context.Context, t *tally, due <-chan time.Time) (ended bool) {
	for {
		select {
		case <-r.filling:
			r.add(t)
		case <-due:
			r.add(t)
			return false
		case <-ctx.Done():
			r.add(t)
			return true
		}
	}
}

// add adds up what waits.
func (r *Recorder) add(t *tally) {
	r.mu.Lock()
	all := r.waiting
	r.waiting, r.spare = r.spare, nil
	r.mu.Unlock()
	for i := range all {
		t.add(&all[i])
	}
	clear(all)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare = all[:0]
}

// flush puts what was added up into the spool.
func (r *Recorder) flush(ctx context.Context, t *tally, since *time.Time) {
	began, now := *since, r.opts.Clock.Now()
	*since = now
	unqueued := r.unqueued.Swap(0)
	t.dropped += unqueued + r.lost
	before := t.dropped - unqueued - r.lost // by the tally itself
	r.dropped.Add(before)
	b := t.take()
	if b == nil {
		return
	}
	b.StartTime, b.EndTime = timestamppb.New(began), timestamppb.New(now)
	err := r.opts.Spool.Append(b)
	if err == nil {
		r.lost = 0
		return
	}
	var requests int64
	for _, o := range b.GetOutcomes() {
		s := o.GetSums()
		requests += s.GetRequests() + s.GetCancelled() + s.GetRejected()
	}
	r.dropped.Add(requests)
	r.lost = b.GetDropped() + requests
	level := slog.LevelError
	if errors.Is(err, ErrFull) {
		level = slog.LevelWarn
	}
	r.opts.Log.LogAttrs(ctx, level, "outcomes were not counted", slog.Int64("requests", requests), slog.Any("error", err))
}
