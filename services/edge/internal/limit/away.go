package limit

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// The bounds within which a shared store that is away is noticed.
const (
	// awayFailures is after how many asks in a row that failed it is no longer asked.
	awayFailures = 3
	// backAnswers is how many answers in a row, each in time, show that it is back.
	backAnswers = 3
)

var errAway = errors.New("limit: Redis is away")

// alone is how a replica decides without Redis: each bucket goes on from what Redis
// last said of it, with a share of the limit.
type alone struct {
	away     bool
	cause    error
	failures int // asks in a row that failed
	answers  int // answers in a row while away
	clock    clock.Clock
	most     int
	buckets  *Memory
	taken    map[string]Ask // what was taken of each bucket meanwhile
}

func newAlone(c clock.Clock, most int) alone {
	return alone{clock: c, most: most, buckets: NewMemory(c, most), taken: make(map[string]Ask)}
}

// failed notes that Redis did not answer a request in time.
func (l *Leased) failed(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone.failures++
	if !l.alone.away && l.alone.failures >= awayFailures {
		l.alone.away, l.alone.answers, l.alone.cause = true, 0, errors.Join(errAway, err)
		l.o.Observe.Away(ctx, true, err)
	}
}

// takeAlone takes from the shares. The lock must be held.
func (l *Leased) takeAlone(ctx context.Context, now time.Time, asks []Ask, out []Decision) int {
	for i, a := range asks {
		out[i] = Decision{Allowed: true, Limit: a.Limit, Remaining: a.Limit.AtOnce(), Local: true}
	}
	shares := make([]Ask, 0, len(asks))
	for i, a := range asks {
		switch {
		case a.Cost > a.Limit.AtOnce():
			out[i].Allowed = false
			return i
		case a.Away == AwayRefuse:
			out[i].Allowed, out[i].Remaining, out[i].RetryAfter = false, 0, time.Second
			return i
		case a.Away == AwayLocal:
			shares = append(shares, l.shareOf(now, a))
		}
	}
	decisions := make([]Decision, len(shares))
	refused, err := l.alone.buckets.Take(ctx, shares, decisions)
	if err != nil { // the share of a limit that makes sense makes sense
		return None
	}
	at, next := None, 0
	for i, a := range asks {
		if a.Away != AwayLocal {
			continue
		}
		d := decisions[next]
		d.Local = true
		out[i] = d
		if refused == next {
			at = i
		}
		next++
	}
	if refused == None {
		for _, a := range asks {
			l.note(a)
		}
	}
	return at
}

// shareOf returns what an ask is of this replica's share. The bucket goes on from
// what Redis last said: the time in which it is full is the same for a share of the
// burst and of the rate.
func (l *Leased) shareOf(now time.Time, a Ask) Ask {
	share := a
	share.Limit = a.Limit.share(l.edges)
	share.Cost = min(a.Cost, share.Limit.AtOnce())
	if _, begun := l.alone.taken[a.Bucket]; !begun {
		if e := l.entries[a.Bucket]; e != nil && e.full.After(now) {
			l.alone.buckets.update(a.Bucket, func(since, tat time.Duration) time.Duration {
				return max(tat, since+e.full.Sub(now))
			})
		}
	}
	return share
}

// note remembers what was taken alone, to be told to Redis. The lock must be held.
func (l *Leased) note(a Ask) {
	if q, ok := l.alone.taken[a.Bucket]; ok {
		a.Cost += q.Cost
	} else if len(l.alone.taken) >= l.alone.most {
		return
	}
	l.alone.taken[a.Bucket] = a
}

func (l *Leased) lookAlone(ctx context.Context, now time.Time, asks []Ask, out []Decision) {
	for i, a := range asks {
		share := l.shareOf(now, a)
		_ = l.alone.buckets.Look(ctx, []Ask{share}, out[i:i+1])
		out[i].Local = true
	}
}

// owed returns what was taken alone and is not refilled yet, and forgets it: what
// Redis had before is refilled there meanwhile. The lock must be held.
func (l *Leased) owed(ctx context.Context) []Ask {
	var out []Ask
	for bucket, a := range l.alone.taken {
		d := make([]Decision, 1)
		share := Ask{Bucket: bucket, Limit: a.Limit.share(l.edges)}
		if err := l.alone.buckets.Look(ctx, []Ask{share}, d); err != nil {
			continue
		}
		used := int((d[0].ResetAfter + share.Limit.interval() - 1) / share.Limit.interval())
		if a.Away != AwayLocal { // nobody bounded it
			used = a.Limit.AtOnce()
		}
		if a.Cost = min(a.Cost, used); a.Cost > 0 {
			out = append(out, a)
		}
	}
	l.alone.buckets, l.alone.taken = NewMemory(l.alone.clock, l.alone.most), make(map[string]Ask)
	return out
}

// probe looks whether Redis answers in time, and tells it that this replica is
// alive. When it is back it first learns what was taken meanwhile, so that nothing
// is had twice.
func (l *Leased) probe(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, l.o.Timeout)
	edges, err := l.shared.edges(asking, l.o.Name, edgeAlive)
	cancel()
	l.mu.Lock()
	away := l.alone.away
	switch {
	case err != nil && !away:
		l.mu.Unlock()
		l.failed(ctx, err)
		return
	case err != nil:
		l.alone.answers = 0
		l.mu.Unlock()
		return
	}
	l.alone.answers++
	if !away {
		l.edges, l.alone.failures = edges, 0
	}
	owes := len(l.alone.taken) > 0
	back := away && l.alone.answers >= backAnswers
	if back || owes && !away {
		for _, a := range l.owed(ctx) {
			l.queue(a)
		}
	}
	l.mu.Unlock()
	if !back || l.flush(ctx) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone.away, l.alone.failures, l.alone.cause, l.edges = false, 0, nil, edges
	l.o.Observe.Away(ctx, false, nil)
}
