// Package routing decides which worker gets a request, and what happens when
// that one fails: before the answer has begun another is tried, afterwards never.
// It does not know what a request holds; start reading at Router.
package routing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/poison"
)

// MaxAttempts bounds Options.MaxAttempts.
const MaxAttempts = 8

// Views are what is known of the workers.
type Views interface {
	// Watch returns the present view and a channel that is closed once there is
	// another.
	Watch() (*fleet.View, <-chan struct{})
}

// Options is what a Router needs.
type Options struct {
	Views  Views
	Picker *Picker
	Clock  clock.Clock
	// MaxAttempts is how many workers a request may be tried on, 1 to 8.
	MaxAttempts int
	// WaitForReady is how long a request waits for a version that is being
	// loaded, and MaxWaiters how many requests may wait at once.
	WaitForReady time.Duration
	MaxWaiters   int
	// Pending reports whether a worker is about to be asked to load a version.
	Pending func(digest string) bool
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
}

// New returns a router.
func New(opts Options) *Router { return &Router{opts: opts} }

// Query says what a request needs.
type Query struct {
	// Digest is the version's.
	Digest string
	// Name is the version's for messages: name@v3.
	Name string
	// Key decides between workers that are equally busy.
	Key string
	// Referenced says that some name leads to the version, so that it is kept
	// loaded.
	Referenced bool
	// Print stands for the request among those under which engines ended; nil when
	// nothing does.
	Print func() uint64
}

// Try runs the request on a copy; attempt counts from 1. begun reports whether
// any part of an answer was passed on: the request is then never tried again.
// ctx ends when the request does.
type Try func(ctx context.Context, c *fleet.Copy, attempt int) (begun bool, err error)

// Do runs a request, on up to MaxAttempts workers and on each of them once. The
// error is one of the taxonomy.
func (r *Router) Do(ctx context.Context, q Query, try Try) error {
	var room [MaxAttempts]*fleet.Copy
	tried := room[:0]
	var last verdict
	if err := r.opts.Poison.Check(q.Print); err != nil {
		return err
	}
	for {
		c, err := r.next(ctx, q, tried, last)
		if err != nil {
			return err
		}
		tried = append(tried, c)
		begun, err := r.attempt(ctx, c, len(tried), try)
		refused := r.opts.Poison.Ended(q.Print, err)
		if err == nil {
			return nil
		}
		last = judge(ctx, err, len(tried))
		if last.lost {
			c.Worker().Failed(r.opts.Clock.Now())
		}
		switch {
		case begun:
			return last.broken()
		case refused != nil:
			return refused
		case !last.elsewhere:
			return last.err
		case len(tried) >= r.opts.MaxAttempts:
			return last.exhausted()
		}
	}
}

func (r *Router) attempt(ctx context.Context, c *fleet.Copy, n int, try Try) (begun bool, err error) {
	c.Acquire()
	defer c.Release()
	begun, err = try(ctx, c, n)
	if err == nil {
		c.Worker().Succeeded()
	}
	if r.opts.Attempted != nil {
		r.opts.Attempted(ctx, c, apierr.ReasonOf(err))
	}
	return begun, err
}

// next returns the copy to try. It waits when one is being loaded.
func (r *Router) next(ctx context.Context, q Query, tried []*fleet.Copy, last verdict) (*fleet.Copy, error) {
	view, changed := r.opts.Views.Watch()
	planned := r.planned()
	if c := r.opts.Picker.Pick(view.Ready(q.Digest), tried, q.Key); c != nil {
		return c, nil
	}
	if last.err != nil && last.err.Reason == apierr.Overloaded {
		return nil, last.exhausted()
	}
	if !r.worthWaiting(view, q) {
		return nil, r.none(q, last)
	}
	if r.waiters.Add(1) > int64(r.opts.MaxWaiters) {
		r.waiters.Add(-1)
		return nil, r.none(q, last)
	}
	defer r.waiters.Add(-1)
	timer := r.opts.Clock.NewTimer(r.opts.WaitForReady)
	defer timer.Stop()
	for {
		select {
		case <-changed:
		case <-planned:
		case <-timer.C():
			return nil, r.none(q, last)
		case <-ctx.Done():
			return nil, judge(ctx, ctx.Err(), len(tried)).err
		}
		view, changed = r.opts.Views.Watch()
		planned = r.planned()
		if c := r.opts.Picker.Pick(view.Ready(q.Digest), tried, q.Key); c != nil {
			return c, nil
		}
		if !r.worthWaiting(view, q) {
			return nil, r.none(q, last)
		}
	}
}

func (r *Router) planned() <-chan struct{} {
	if r.opts.Planned == nil {
		return nil
	}
	return r.opts.Planned()
}

// Waiting returns how many requests wait for a version to be loaded.
func (r *Router) Waiting() int64 { return r.waiters.Load() }

// worthWaiting reports whether a copy may be ready soon.
func (r *Router) worthWaiting(view *fleet.View, q Query) bool {
	return view.Loading(q.Digest) > 0 || !view.Settled || r.opts.Pending(q.Digest)
}

// none is the error of a request for which there is no copy left.
func (r *Router) none(q Query, last verdict) error {
	if last.err != nil {
		return last.exhausted()
	}
	if !q.Referenced {
		return apierr.New(apierr.FailedPrecondition, "%s is loaded on no worker, and nothing asks for it: "+
			"point an alias or an arm of the split at it", q.Name).WithField("model").WithMetadata("model", q.Name)
	}
	return apierr.New(apierr.Unavailable, "no worker is ready to serve %s; try again", q.Name).
		WithMetadata("model", q.Name).WithRetryAfter(retryLater)
}
