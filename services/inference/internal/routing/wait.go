package routing

import (
	"context"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// next returns the place to try. It waits when a copy is being loaded or its engine is
// started again, but not with a caller who has a part of the answer.
func (r *Router) next(ctx context.Context, q *Query, tried []trial, last verdict, begun bool) (*schedule.Grant, error) {
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
	wait := r.patience(q) - q.waited
	// Asked in any case: what nobody has is loaded because somebody asks for it.
	if !r.worthWaiting(ctx, view, q, tried) || wait <= 0 {
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
			q.waited += r.opts.Clock.Now().Sub(since)
			return nil, r.none(view, q, last)
		case <-ctx.Done():
			return nil, judge(ctx, ctx.Err(), len(tried)).err
		}
		took := r.opts.Clock.Now().Sub(since)
		q.idle, q.waited = q.idle+took, q.waited+took
		view, changed = r.opts.Views.Watch()
		planned = r.planned()
		if g, err := r.place(ctx, q, tried); g != nil || err != nil {
			return g, err
		}
		if !r.worthWaiting(ctx, view, q, tried) {
			return nil, r.none(view, q, last)
		}
	}
}

func (r *Router) planned() <-chan struct{} {
	if r.opts.Planned == nil {
		return nil
	}
	return r.opts.Planned()
}

// patience is how long a request waits for its version in all.
func (r *Router) patience(q *Query) time.Duration {
	if q.WaitForReady < 0 {
		return r.opts.WaitForReady
	}
	return q.WaitForReady
}

// shareOfFree is how many times the places that it leaves free a tenant may have: alone
// it gets three of four places, the next one three of four of the rest, and so on.
const shareOfFree = 3

// enter takes a place among those that wait for a version. Whoever has none gets one as
// long as there is any.
func (r *Router) enter(tenant string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	has, left := r.byTenant[tenant], r.opts.MaxWaiters-int(r.waiters.Load())-1
	if left < 0 || has > 0 && has+1 > shareOfFree*left {
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

// Waiting returns how many requests wait for a version.
func (r *Router) Waiting() int64 { return r.waiters.Load() }

// worthWaiting reports whether a copy may be ready soon.
func (r *Router) worthWaiting(ctx context.Context, view *fleet.View, q *Query, tried []trial) bool {
	if q.loading(view) > 0 || !view.Settled {
		return true
	}
	// Demand is for versions that nobody has, and not for another copy.
	if !q.Ready(view) && r.opts.Pending(q.asked(), q.Exact) {
		return true
	}
	return !q.NoRestartWait && (unheard(view, tried) || r.restarts(ctx, view, q))
}

// unheard reports whether an engine was gone that is ready by what its worker said last:
// it is about to say whether it starts it again.
func unheard(view *fleet.View, tried []trial) bool {
	for _, t := range tried {
		if t.away && t.copy.Cache.ID() == t.life && slices.Contains(view.Ready(t.copy.Digest()), t.copy) {
			return true
		}
	}
	return false
}

// restarts reports whether an engine is started again while the request may wait. A
// pause that is longer than it may wait in all is that of an engine that has failed
// again and again: whoever comes at the end of it need not wait for the next one.
func (r *Router) restarts(ctx context.Context, view *fleet.View, q *Query) bool {
	now, most := r.opts.Clock.Now(), r.patience(q)
	left := most - q.waited
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, deadline.Sub(now))
	}
	for _, digest := range q.forms() {
		for _, restart := range view.Restarts(digest) {
			if restart.Pause <= most && restart.At.Sub(now) < left {
				return true
			}
		}
	}
	return false
}

// loading returns how many workers are loading what may serve the request.
func (q *Query) loading(view *fleet.View) int {
	n := 0
	for _, digest := range q.forms() {
		n += view.Loading(digest)
	}
	return n
}
