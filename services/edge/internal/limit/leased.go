package limit

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// The bounds on leases.
const (
	// leaseFor is for how long a lease shall last at the rate that was seen.
	leaseFor = 100 * time.Millisecond
	// leasePart bounds all replicas' leases of a bucket, as a part of what it may
	// have at once: what one holds, another may miss.
	leasePart = 100
	// leaseIdle is after what time a lease that nobody uses is given back.
	leaseIdle = 500 * time.Millisecond
	// holdLeast and holdMost bound for how long a refusal is taken for the bucket's
	// state, so that what is over its limit costs few round trips too.
	holdLeast = 10 * time.Millisecond
	holdMost  = 100 * time.Millisecond
	// forgetAfter is when a bucket that nobody asks is forgotten.
	forgetAfter = time.Minute
)

// LeasedOptions is what a Leased works with; all of it is needed.
type LeasedOptions struct {
	Scripts Scripts
	Clock   clock.Clock
	// Name tells this replica from the others; each start has another.
	Name string
	// Timeout is the longest that a request waits for Redis.
	Timeout time.Duration
	// MaxBuckets is how many are remembered, about 300 bytes each.
	MaxBuckets int
	// Observe is told what happens.
	Observe Observer
}

// Observer is told what a Leased does. Its methods must not wait.
type Observer interface {
	// Asked: Redis was asked on a request's behalf.
	Asked(ctx context.Context)
	// Local: a request was decided without it; err is why.
	Local(ctx context.Context, err error)
	// Away: Redis is no longer asked, or again; err is why.
	Away(ctx context.Context, away bool, err error)
	// Replicas: so many share the limits.
	Replicas(ctx context.Context, n int)
}

// Leased is Buckets in Redis of which each replica takes some units ahead, as a lease,
// when a bucket is asked often; most requests then ask nobody. A replica that dies
// loses its leases and no more. While Redis does not answer in time, replicas decide
// alone (away.go). Start Components with it.
type Leased struct {
	o      LeasedOptions
	shared shared
	wake   chan struct{} // something is to be settled

	asking   sync.WaitGroup // asks of Redis that are under way
	flushing chan struct{}  // one, of whoever tells Redis
	mu       sync.Mutex
	entries  map[string]*entry
	settles  map[string]settlement // what is to be settled, by bucket
	telling  *batch                // what Redis was told last, until it answers
	told     uint64                // the number of that
	late     int                   // asks that their requests no longer wait for
	edges    int                   // replicas, as last known
	alone    alone
	replicas replicas
}

// entry is what this replica knows of a bucket.
type entry struct {
	limit Limit
	units int       // what is left of the lease
	used  time.Time // when it was last asked
	full  time.Time // when the bucket is full again, as Redis said
	// A cost of denied or more is refused until held, and can be had at retry.
	denied      int
	held, retry time.Time
	// What was taken since counted, and the rate before, in units a second.
	taken   int
	counted time.Time
	rate    float64
	flight  *flight // a lease is being asked for
}

// flight ends when Redis has answered, or when nobody waits for that any longer.
type flight struct {
	done   chan struct{}
	failed bool
	late   bool // nobody waits, and the lease may still come
}

// NewLeased returns buckets that are shared.
func NewLeased(o LeasedOptions) *Leased {
	return &Leased{
		o: o, shared: shared{o.Scripts}, wake: make(chan struct{}, 1), flushing: make(chan struct{}, 1), entries: make(map[string]*entry), settles: make(map[string]settlement),
		edges: 1, alone: newAlone(o.Clock, o.MaxBuckets),
	}
}

// Edges returns how many replicas are alive, as last known.
func (l *Leased) Edges() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sharers()
}

// Away reports whether this replica decides alone.
func (l *Leased) Away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone.away
}

// Take fails only for a limit that makes no sense.
func (l *Leased) Take(ctx context.Context, asks []Ask, out []Decision) (int, error) {
	if err := checkAll(asks); err != nil {
		return None, err
	}
	var begun time.Time
	for {
		l.mu.Lock()
		now := l.o.Clock.Now()
		if l.alone.away {
			refused := l.takeAlone(ctx, now, asks, out)
			err := l.alone.cause
			l.mu.Unlock()
			l.o.Observe.Local(ctx, err)
			return refused, nil
		}
		if refused, known := l.takeHere(now, asks, out); known {
			l.mu.Unlock()
			return refused, nil
		}
		if begun.IsZero() {
			begun = now
		}
		busy := l.busy(asks)
		if busy == nil {
			if l.late >= lateMost {
				l.failed(ctx, errLate)
				l.mu.Unlock()
				return l.fallBack(ctx, asks, out, errLate), nil
			}
			t := l.takeOff(now, asks)
			l.mu.Unlock()
			return l.ask(ctx, t, asks, out, l.o.Timeout-now.Sub(begun)), nil
		}
		l.mu.Unlock()
		left := begun.Add(l.o.Timeout).Sub(now)
		if left <= 0 || !l.await(ctx, busy, left) {
			return l.fallBack(ctx, asks, out, context.DeadlineExceeded), nil
		}
	}
}

// await waits for a flight, and reports whether it came back.
func (l *Leased) await(ctx context.Context, f *flight, most time.Duration) bool {
	timer := l.o.Clock.NewTimer(most)
	defer timer.Stop()
	select {
	case <-f.done:
		return !f.failed
	case <-ctx.Done():
		return false
	case <-timer.C():
		return false
	}
}

// takeHere takes from leases, if all of them suffice, or refuses what is known to be
// refused. The lock must be held.
func (l *Leased) takeHere(now time.Time, asks []Ask, out []Decision) (refused int, known bool) {
	refused, enough := tooMuch(asks), true
	for i, a := range asks {
		e := l.entry(now, a)
		if refused == None && a.Cost >= e.denied && e.units < a.Cost && now.Before(e.held) {
			refused = i
		}
		enough = enough && e.units >= a.Cost
	}
	if refused == None && !enough {
		return None, false
	}
	for i, a := range asks {
		e := l.entry(now, a)
		if refused == None {
			e.units -= a.Cost
			e.count(now, a.Cost)
		}
		out[i] = e.decision(now)
	}
	if refused != None {
		out[refused].Allowed = false
		if e := l.entry(now, asks[refused]); asks[refused].Cost <= asks[refused].Limit.AtOnce() {
			out[refused].RetryAfter = max(e.retry.Sub(now), e.held.Sub(now))
		}
	}
	return refused, true
}

// busy returns the flight for a lease that an ask waits for. The lock must be held.
func (l *Leased) busy(asks []Ask) *flight {
	for _, a := range asks {
		if e := l.entries[a.Bucket]; e != nil && e.flight != nil && !e.flight.late && e.units < a.Cost {
			return e.flight
		}
	}
	return nil
}

// Look asks Redis what the buckets have. It fails when that does not answer.
func (l *Leased) Look(ctx context.Context, asks []Ask, out []Decision) error {
	if err := checkAll(asks); err != nil || len(asks) == 0 {
		return err
	}
	if l.Away() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lookAlone(ctx, l.o.Clock.Now(), asks, out)
		return nil
	}
	wants, grants := make([]want, len(asks)), make([]grant, len(asks))
	for i, a := range asks {
		wants[i] = want{bucket: a.Bucket, limit: a.Limit}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := l.shared.take(ctx, wants, grants); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range asks {
		g := grants[i]
		out[i] = Decision{Allowed: true, Limit: a.Limit, Remaining: g.left, ResetAfter: g.reset}
		if e := l.entries[a.Bucket]; e != nil && e.units > 0 { // here, and not used
			out[i].Remaining = min(g.left+e.units, a.Limit.AtOnce())
		}
	}
	return nil
}

// lookTimeout bounds what nobody's request waits for.
const lookTimeout = time.Second
