// Package routing decides which worker gets a request, and what happens when
// that one fails: before the answer has begun another is tried, afterwards only
// when the answer can go on there.
// It does not know what a request holds; start reading at Router.
package routing

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/poison"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// MaxAttempts bounds Options.MaxAttempts.
const MaxAttempts = 8

// Views are what is known of the workers.
type Views interface {
	// Watch returns the present view and a channel that is closed once there is
	// another.
	Watch() (*fleet.View, <-chan struct{})
}

// Scheduler decides when a request runs, and on which copy.
type Scheduler interface {
	// Place returns the copy that the request runs on once it is its turn, and nil
	// when no copy is ready that was not tried.
	Place(ctx context.Context, req *schedule.Request, tried []*fleet.Copy) (*schedule.Grant, error)
}

// Options is what a Router needs.
type Options struct {
	Views     Views
	Scheduler Scheduler
	Clock     clock.Clock
	// MaxAttempts is how many workers a request may be tried on, 1 to 8.
	MaxAttempts int
	// WaitForReady is how long a request waits for a version that is being loaded, or
	// whose engine is started again; and MaxWaiters how many requests may wait at once.
	WaitForReady time.Duration
	MaxWaiters   int
	// Pending reports whether a worker is about to be asked to load a version, or
	// this very variant when it was asked for by its digest.
	Pending func(digest string, exact bool) bool
	// Problem, when set, says why a version is not placed where it should be; empty
	// when nothing is known to be wrong.
	Problem func(digest string) string
	// Planned, when set, returns a channel that is closed once Pending may say
	// otherwise.
	Planned func() <-chan struct{}
	// Poison refuses requests that ended engines; nil refuses none.
	Poison *poison.Guard
	// Attempted, when set, is told the outcome of every attempt.
	Attempted func(ctx context.Context, c *fleet.Copy, reason apierr.Reason)
}

// Router runs requests on workers. It is safe for concurrent use.
type Router struct {
	opts    Options
	waiters atomic.Int64

	mu       sync.Mutex
	byTenant map[string]int // of the waiters
}

// New returns a router.
func New(opts Options) *Router { return &Router{opts: opts, byTenant: make(map[string]int)} }

// Query says what a request needs.
type Query struct {
	schedule.Request

	// Referenced says that some name leads to the version, so that it is kept
	// loaded.
	Referenced bool
	// Exact says that the request is for the variant of that digest and no other.
	Exact bool
	// WaitForReady is how long the request waits, over all attempts, for a version that
	// is being loaded or whose engine is started again; below 0 the router's own time.
	WaitForReady time.Duration
	// NoRestartWait says that it does not wait for an engine that is started again.
	NoRestartWait bool
	// MaxAttempts is how many workers the request may be tried on, where that is fewer
	// than Options has; 0: as many.
	MaxAttempts int
	// Print stands for the request among those under which engines ended; nil when
	// nothing does.
	Print func() uint64

	// For how long it waited for the version: idle since the last attempt, waited in all.
	idle, waited time.Duration
}

// trial is an attempt that failed.
type trial struct {
	copy *fleet.Copy
	life uint32 // of the engine, from one start to the next
	away bool   // the engine was gone
}

// Do runs a request, on up to MaxAttempts engines and on each of them once; one that was
// started again is another. Its query is used up. The error is one of the taxonomy.
func (r *Router) Do(ctx context.Context, q *Query, try Try) error {
	var room [MaxAttempts]trial
	tried := room[:0]
	var last verdict
	var broke *verdict // of the worker in whose hands the answer broke
	most := r.opts.MaxAttempts
	if q.MaxAttempts > 0 {
		most = min(most, q.MaxAttempts)
	}
	if err := r.opts.Poison.Check(q.Print); err != nil {
		return err
	}
	for {
		grant, err := r.next(ctx, q, tried, last, broke != nil)
		switch {
		case err != nil && broke != nil && ctx.Err() == nil:
			return broke.broken()
		case err != nil:
			return err
		}
		life := grant.Copy().Cache.ID()
		tried = append(tried, trial{copy: grant.Copy(), life: life})
		begun, err := r.attempt(ctx, &Run{grant: grant, attempt: len(tried), idle: q.idle, ready: q.waited}, try)
		q.idle = 0
		refused := r.opts.Poison.Ended(q.Print, life, err)
		if err == nil {
			return nil
		}
		resume, resumable := errors.AsType[*ResumeError](err)
		if resumable {
			begun, err = false, resume.Err
		}
		last = judge(ctx, err, len(tried))
		tried[len(tried)-1].away = last.away
		if last.lost {
			grant.Copy().Worker().Failed(r.opts.Clock.Now())
		}
		if resumable {
			v := last
			broke = &v
			// Another variant would go on in other words.
			q.Variants = []string{grant.Copy().Digest()}
		}
		switch {
		case broke != nil && !begun && ctx.Err() == nil && (refused != nil || !last.elsewhere || len(tried) >= most):
			return broke.broken()
		case begun:
			return last.broken()
		case refused != nil:
			return refused
		case !last.elsewhere:
			return last.err
		case len(tried) >= most:
			view, _ := r.opts.Views.Watch()
			return r.none(view, q, last)
		}
	}
}

func (r *Router) attempt(ctx context.Context, run *Run, try Try) (begun bool, err error) {
	defer func() { run.grant.End(run.result) }()
	begun, err = try(ctx, run)
	switch {
	case err == nil:
		run.result.Served = true
		run.Copy().Worker().Succeeded()
	case ctx.Err() != nil:
		run.result.Cancelled = true
	case unready(err):
		// Before the place is given back: it must not draw in those who wait.
		run.Copy().Suspend()
	}
	if r.opts.Attempted != nil {
		r.opts.Attempted(ctx, run.Copy(), apierr.ReasonOf(err))
	}
	return begun, err
}

// place asks the scheduler; what ends the request itself is judged as ever.
func (r *Router) place(ctx context.Context, q *Query, tried []trial) (*schedule.Grant, error) {
	g, err := r.opts.Scheduler.Place(ctx, &q.Request, spent(tried))
	if err != nil && ctx.Err() != nil {
		return nil, judge(ctx, err, len(tried)).err
	}
	return g, err
}

// spent are the copies that a request was tried on whose engine is still the same.
func spent(tried []trial) []*fleet.Copy {
	var out []*fleet.Copy
	for _, t := range tried {
		if t.copy.Cache.ID() == t.life {
			out = append(out, t.copy)
		}
	}
	return out
}

// asked is the digest that stands for what was asked for: the version's, or that
// of the very variant.
func (q *Query) asked() string {
	if q.Exact && len(q.Variants) > 0 {
		return q.Variants[0]
	}
	return q.Digest
}

// forms are the digests of what may serve the request.
func (q *Query) forms() []string {
	if len(q.Variants) == 0 {
		return []string{q.Digest}
	}
	return q.Variants
}
