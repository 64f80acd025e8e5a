package schedule

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// lane is the requests of one version.
type lane struct {
	s    *Scheduler
	pace Pace

	mu       sync.Mutex
	queue    *fair.Queue[*ticket]
	kinds    map[string]int // those that wait, by Request.forms
	running  int            // grants that are not ended
	urgent   time.Time      // when a request that is no batch was last seen
	used     time.Time
	watching bool // a goroutine gives turns when the workers' load changes

	spares map[*Grant]struct{} // that run in places that nobody wanted
}

// ticket is a request that waits, and its place once it has one.
type ticket struct {
	Grant

	item  fair.Item[*ticket]
	came  time.Time
	forms string       // of the request
	turn  chan outcome // holds one
}

// outcome ends a wait: a grant, an error, or neither when no copy is left.
type outcome struct {
	grant *Grant
	err   error
}

func newLane(s *Scheduler) *lane {
	return &lane{s: s, kinds: make(map[string]int), spares: make(map[*Grant]struct{}), queue: fair.New[*ticket](fair.Options{
		MaxItems: s.opts.MaxQueued, MaxBytes: s.opts.MaxQueuedBytes, Weight: s.opts.Weight,
	})}
}

func (l *lane) idleSince(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running > 0 || l.queue.Len() > 0 {
		return 0
	}
	return now.Sub(l.used)
}

func (l *lane) place(ctx context.Context, req *Request, tried []*fleet.Copy) (*Grant, error) {
	view, _ := l.s.opts.Views.Watch()
	if !req.Ready(view) {
		return nil, nil //nolint:nilnil // no copy is ready, which is no error here
	}
	now := l.s.opts.Clock.Now()
	t := &ticket{came: now, Grant: Grant{lane: l, job: Job{Request: req, Pace: &l.pace}}}
	l.s.opts.Strategy.Prepare(&t.job)
	l.mu.Lock()
	l.used = now
	if req.Class != fair.Batch && !req.Light {
		l.urgent = now
	}
	if req.Spare {
		defer l.mu.Unlock()
		return l.spare(t, view, len(tried) > 0, now)
	}
	if len(tried) > 0 || req.Light {
		// It has waited already, and what it was given failed.
		defer l.mu.Unlock()
		return l.grant(t, l.pick(t, view, func(c *fleet.Copy) bool { return !was(tried, c) }, true), now), nil
	}
	if len(req.Variants) > 0 {
		// What waits takes what it may first; what is free then, nobody may who waits.
		l.dispatch(now)
	}
	if len(req.Variants) > 0 || l.first(req.Class) {
		if g := l.grant(t, l.pick(t, view, l.room(req.Class, now), false), now); g != nil {
			l.mu.Unlock()
			l.waited(ctx, req, 0)
			return g, nil
		}
	}
	if err := l.enqueue(ctx, t, now); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.mu.Unlock()
	return l.wait(ctx, t, now)
}

// first reports whether nobody waits whose turn comes before a newcomer's.
func (l *lane) first(class fair.Class) bool {
	for at := fair.Interactive; at <= class; at++ {
		if l.queue.LenOf(at) > 0 {
			return false
		}
	}
	return true
}

// enqueue lets a ticket wait, or says why not; l.mu is held.
func (l *lane) enqueue(ctx context.Context, t *ticket, now time.Time) error {
	req := t.job.Request
	wait := l.expect(req.Tenant, req.Class)
	if limit, late := l.limit(ctx, req.Class, now); wait > limit || late {
		return l.refuse(ctx, req, RefusedLate, wait-limit)
	}
	t.turn = make(chan outcome, 1)
	t.forms = req.forms()
	t.item = fair.Item[*ticket]{Value: t, Tenant: req.Tenant, Class: req.Class, Bytes: req.Bytes}
	evicted, ok := l.queue.Push(&t.item)
	for _, e := range evicted {
		l.waits(e.Value, -1)
		l.s.queued[e.Class].Add(-1)
		e.Value.turn <- outcome{err: l.refuse(ctx, e.Value.job.Request, RefusedDisplaced, wait)}
	}
	if !ok {
		return l.refuse(ctx, req, RefusedFull, wait)
	}
	l.waits(t, 1)
	l.s.queued[req.Class].Add(1)
	l.yield()
	if !l.watching {
		l.watching = true
		go l.watch()
	}
	return nil
}

// wait returns when it is the ticket's turn, or when it cannot wait any longer.
func (l *lane) wait(ctx context.Context, t *ticket, since time.Time) (*Grant, error) {
	req := t.job.Request
	timer := l.s.opts.Clock.NewTimer(l.s.opts.MaxWait[req.Class])
	defer timer.Stop()
	var gone error
	select {
	case o := <-t.turn:
		return l.turn(ctx, req, o, since)
	case <-timer.C():
	case <-ctx.Done():
		gone = context.Cause(ctx)
	}
	l.mu.Lock()
	select {
	case o := <-t.turn: // both happened
		l.mu.Unlock()
		if gone != nil && o.grant != nil {
			o.grant.End(Result{}) // nothing was sent yet
			return nil, gone
		}
		return l.turn(ctx, req, o, since)
	default:
	}
	l.remove(t)
	expected := l.expect(req.Tenant, req.Class)
	l.mu.Unlock()
	if gone != nil {
		return nil, gone
	}
	return nil, l.refuse(ctx, req, RefusedWaited, expected)
}

func (l *lane) turn(ctx context.Context, req *Request, o outcome, since time.Time) (*Grant, error) {
	if o.grant != nil {
		l.waited(ctx, req, l.s.opts.Clock.Now().Sub(since))
	}
	return o.grant, o.err
}

// waits counts what waits, by what it waits for.
func (l *lane) waits(t *ticket, n int) {
	if l.kinds[t.forms] += n; l.kinds[t.forms] == 0 {
		delete(l.kinds, t.forms)
	}
}

func (l *lane) remove(t *ticket) {
	l.queue.Remove(&t.item)
	l.waits(t, -1)
	l.s.queued[t.item.Class].Add(-1)
}

func was(tried []*fleet.Copy, c *fleet.Copy) bool {
	for _, t := range tried {
		// A worker that was found again is the same machine.
		if t == c || t.Worker() == c.Worker() {
			return true
		}
	}
	return false
}
