package outcomes

import (
	"context"
	"errors"
	"log/slog"
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
	opts  Options
	queue chan Outcome
	// unqueued are outcomes for which the queue had no room, lost those that were
	// added up and for which the spool had none; both since they were last told.
	unqueued atomic.Int64
	dropped  atomic.Int64 // all of them
	lost     int64
}

// NewRecorder returns a recorder; what it is given waits until Run.
func NewRecorder(opts Options) *Recorder {
	return &Recorder{opts: opts, queue: make(chan Outcome, max(opts.Queue, 1))}
}

// Record counts an outcome. It never waits: where there is no room, the outcome
// counts as dropped.
func (r *Recorder) Record(o Outcome) {
	select {
	case r.queue <- o:
	default:
		r.unqueued.Add(1)
		r.dropped.Add(1)
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
		case o := <-r.queue:
			t.add(&o)
		case <-due:
			return false
		case <-ctx.Done():
			for {
				select {
				case o := <-r.queue:
					t.add(&o)
				default:
					return true
				}
			}
		}
	}
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
