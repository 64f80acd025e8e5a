package limit

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// lateFor is for how long an answer of Redis is waited for after its request has
	// gone on, so that what it gave is not lost, and lateMost is how many are waited
	// for so.
	lateFor  = time.Second
	lateMost = 64
)

var errLate = errors.New("limit: Redis has too many asks to answer")

// trip is an ask of Redis that is under way: what was taken from each lease for it,
// and what is wanted of Redis besides.
type trip struct {
	asks    []Ask
	entries []*entry
	here    []int
	wants   []want
	of      []int // the ask of each want
	grants  []grant
	flight  *flight // nil: no lease is asked for
	back    chan struct{}
	err     error // once it is back
	gone    bool  // its request decided alone,
	allowed bool  // and let it in
}

// takeOff takes what leases have and returns what else to ask for. The lock must be
// held.
func (l *Leased) takeOff(now time.Time, asks []Ask) *trip {
	n := len(asks)
	t := &trip{
		asks: slices.Clone(asks), entries: make([]*entry, n), here: make([]int, n),
		wants: make([]want, 0, n), of: make([]int, 0, n), back: make(chan struct{}),
	}
	for i, a := range asks {
		e := l.entry(now, a)
		t.entries[i], t.here[i] = e, min(e.units, a.Cost)
		e.units -= t.here[i]
		if t.here[i] == a.Cost && a.Cost > 0 {
			continue
		}
		w := want{bucket: a.Bucket, limit: a.Limit, need: a.Cost - t.here[i], lease: e.lease(now, l.edges)}
		if w.lease > 0 {
			if t.flight == nil {
				t.flight = &flight{done: make(chan struct{})}
			}
			e.flight = t.flight
		}
		t.wants, t.of = append(t.wants, w), append(t.of, i)
	}
	t.grants = make([]grant, len(t.wants))
	return t
}

// ask asks Redis and decides: by its answer, or alone after most.
func (l *Leased) ask(ctx context.Context, t *trip, asks []Ask, out []Decision, most time.Duration) int {
	l.o.Observe.Asked(ctx)
	// Redis may have given already when the caller goes away, or when it waits no
	// longer: what it gave must not be lost.
	onward := context.WithoutCancel(ctx)
	l.asking.Go(func() {
		asking, cancel := context.WithTimeout(onward, lateFor)
		defer cancel()
		l.arrive(t, l.shared.take(asking, t.wants, t.grants))
	})
	timer := l.o.Clock.NewTimer(max(most, 0))
	select {
	case <-t.back:
	case <-timer.C():
	}
	timer.Stop()

	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Clock.Now()
	err := t.err
	select {
	case <-t.back:
		if err == nil {
			l.alone.failures = 0
			return l.land(now, t, out)
		}
	default:
		err = context.DeadlineExceeded
		t.gone = true
		l.late++
		if t.flight != nil {
			t.flight.failed, t.flight.late = true, true
			close(t.flight.done)
		}
	}
	l.restore(t)
	l.failed(ctx, err)
	l.o.Observe.Local(ctx, err)
	refused := l.takeAlone(ctx, now, asks, out)
	t.allowed = refused == None
	return refused
}

// arrive notes that Redis has answered, or never will.
func (l *Leased) arrive(t *trip, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.flight != nil {
		for _, e := range t.entries {
			if e.flight == t.flight {
				e.flight = nil
			}
		}
		if !t.flight.late {
			t.flight.failed = err != nil
			close(t.flight.done)
		}
	}
	t.err = err
	close(t.back)
	if !t.gone {
		return
	}
	l.late--
	if err == nil {
		l.reconcile(l.o.Clock.Now(), t)
	}
}

// restore puts back what was taken from leases.
func (l *Leased) restore(t *trip) {
	for i, e := range t.entries {
		l.credit(e, t.asks[i], t.here[i])
	}
}

// credit adds units to a bucket's lease, or gives them back where none is kept.
func (l *Leased) credit(e *entry, a Ask, units int) {
	switch {
	case units == 0:
	case e.limit == a.Limit && l.entries[a.Bucket] == e:
		e.units += units
	default: // it was changed, or forgotten, or never known
		l.queue(settlement{bucket: a.Bucket, limit: a.Limit, cost: -units})
		l.stir()
	}
}

// heard notes what Redis said, and returns the first ask that it refused.
func (l *Leased) heard(now time.Time, t *trip) int {
	refused := None
	for i, g := range t.grants {
		at := t.of[i]
		e, a := t.entries[at], t.asks[at]
		if e.limit == a.Limit {
			e.full = now.Add(g.reset)
		}
		l.credit(e, a, g.leased)
		if !g.had {
			e.deny(now, a.Cost, g.retry)
			if refused == None {
				refused = at
			}
		}
	}
	return refused
}

// land decides by what Redis said.
func (l *Leased) land(now time.Time, t *trip, out []Decision) int {
	refused := l.heard(now, t)
	if refused != None {
		l.restore(t)
	}
	for i, e := range t.entries {
		if refused == None {
			e.count(now, t.asks[i].Cost)
		}
		out[i] = e.decision(now)
	}
	if refused != None {
		e := t.entries[refused]
		out[refused].Allowed, out[refused].RetryAfter = false, max(e.retry.Sub(now), e.held.Sub(now))
	}
	return refused
}

// reconcile makes good what Redis said after its request had been decided alone: what
// it gave pays for what was taken alone, or for requests to come.
func (l *Leased) reconcile(now time.Time, t *trip) {
	if l.heard(now, t) != None {
		return // it gave nothing, and is told what was taken
	}
	for i, w := range t.wants {
		e, a := t.entries[t.of[i]], t.asks[t.of[i]]
		if t.allowed {
			a.Cost = -w.need
			l.note(now, a)
		} else {
			l.credit(e, a, w.need)
		}
	}
}

// fallBack decides alone, for once.
func (l *Leased) fallBack(ctx context.Context, asks []Ask, out []Decision, err error) int {
	l.o.Observe.Local(ctx, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeAlone(ctx, l.o.Clock.Now(), asks, out)
}
