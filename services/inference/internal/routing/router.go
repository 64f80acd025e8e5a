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
	// WaitForReady is how long a request waits for a version that is being
	// loaded, and MaxWaiters how many requests may wait at once.
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
	// WaitForReady is how long the request waits for a version that is being
	// loaded; below 0 the router's own time.
	WaitForReady time.Duration
	// MaxAttempts is how many workers the request may be tried on, where that is fewer
	// than Options has; 0: as many.
	MaxAttempts int
	// Print stands for the request among those under which engines ended; nil when
	// nothing does.
	Print func() uint64

	idle time.Duration // it waited for the version to be loaded, since the last attempt
}

// Do runs a request, on up to MaxAttempts workers and on each of them once; its query is
// used up. The error is one of the taxonomy.
func (r *Router) Do(ctx context.Context, q *Query, try Try) error {
	var room [MaxAttempts]*fleet.Copy
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
		tried = append(tried, grant.Copy())
		life := grant.Copy().Cache.ID() // the engine's, from one start to the next
		begun, err := r.attempt(ctx, &Run{grant: grant, attempt: len(tried), idle: q.idle}, try)
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
			return last.exhausted()
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

// next returns the place to try. It waits when a copy is being loaded, but not with
// a caller who has a part of the answer.
func (r *Router) next(ctx context.Context, q *Query, tried []*fleet.Copy, last verdict, begun bool) (*schedule.Grant, error) {
	view, changed := r.opts.Views.Watch()
	planned := r.planned()
	for {
		if g, err := r.place(ctx, q, tried); g != nil || err != nil {
			return g, err
		}
		// A request may have waited for its turn until the copies went away.
		now, next := r.opts.Views.Watch()
		if now == view {
			break
		}
		view, changed, planned = now, next, r.planned()
	}
	if begun {
		return nil, r.none(view, q, last)
	}
	if last.err != nil && (last.err.Reason == apierr.Overloaded || last.err.Reason == apierr.EngineFailed) {
		// It is the request, or too many of them: another copy would come too late.
		return nil, last.exhausted()
	}
	wait := q.WaitForReady
	if wait < 0 {
		wait = r.opts.WaitForReady
	}
	// Asked in any case: what nobody has is loaded because somebody asks for it.
	if !r.worthWaiting(view, q) || wait == 0 {
		return nil, r.none(view, q, last)
	}
	if !r.enter(q.Tenant) {
		return nil, r.none(view, q, last)
	}
	defer r.leave(q.Tenant)
	timer := r.opts.Clock.NewTimer(wait)
	defer timer.Stop()
	for {
		since := r.opts.Clock.Now()
		select {
		case <-changed:
		case <-planned:
		case <-timer.C():
			return nil, r.none(view, q, last)
		case <-ctx.Done():
			return nil, judge(ctx, ctx.Err(), len(tried)).err
		}
		q.idle += r.opts.Clock.Now().Sub(since)
		view, changed = r.opts.Views.Watch()
		planned = r.planned()
		if g, err := r.place(ctx, q, tried); g != nil || err != nil {
			return g, err
		}
		if !r.worthWaiting(view, q) {
			return nil, r.none(view, q, last)
		}
	}
}

// place asks the scheduler; what ends the request itself is judged as ever.
func (r *Router) place(ctx context.Context, q *Query, tried []*fleet.Copy) (*schedule.Grant, error) {
	g, err := r.opts.Scheduler.Place(ctx, &q.Request, tried)
	if err != nil && ctx.Err() != nil {
		return nil, judge(ctx, err, len(tried)).err
	}
	return g, err
}

func (r *Router) planned() <-chan struct{} {
	if r.opts.Planned == nil {
		return nil
	}
	return r.opts.Planned()
}

// enter takes a place among those that wait for a version to be loaded. One
// tenant gets half of the places at most.
func (r *Router) enter(tenant string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiters.Load() >= int64(r.opts.MaxWaiters) || r.byTenant[tenant] >= max(r.opts.MaxWaiters/2, 1) {
		return false
	}
	r.waiters.Add(1)
	r.byTenant[tenant]++
	return true
}

func (r *Router) leave(tenant string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters.Add(-1)
	if r.byTenant[tenant]--; r.byTenant[tenant] == 0 {
		delete(r.byTenant, tenant)
	}
}

// Waiting returns how many requests wait for a version to be loaded.
func (r *Router) Waiting() int64 { return r.waiters.Load() }

// worthWaiting reports whether a copy may be ready soon.
func (r *Router) worthWaiting(view *fleet.View, q *Query) bool {
	if q.loading(view) > 0 || !view.Settled {
		return true
	}
	// Demand is for versions that nobody has, and not for another copy.
	return !q.Ready(view) && r.opts.Pending(q.asked(), q.Exact)
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

// loading returns how many workers are loading what may serve the request.
func (q *Query) loading(view *fleet.View) int {
	n := 0
	for _, digest := range q.forms() {
		n += view.Loading(digest)
	}
	return n
}
