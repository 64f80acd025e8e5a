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
	// backAnswers is how many answers in a row, each in time, show that it is back: a
	// second, so that other replicas have told what they took, too.
	backAnswers = 10
	// probeFor is for how long a probe's answer is waited for.
	probeFor = 250 * time.Millisecond
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
	taken    map[string]settlement // what was taken so of each bucket, and not told yet
}

func newAlone(c clock.Clock, most int) alone {
	return alone{clock: c, most: most, buckets: NewMemory(c, most), taken: make(map[string]settlement)}
}

// failed notes that Redis did not answer a request in time. The lock must be held.
func (l *Leased) failed(ctx context.Context, err error) {
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
			l.note(now, a)
		}
	}
	return at
}

// shareOf returns what an ask is of this replica's share. The bucket goes on from
// what Redis last said: the time in which it is full is the same for a share of the
// burst and of the rate.
func (l *Leased) shareOf(now time.Time, a Ask) Ask {
	share := a
	share.Limit = a.Limit.share(l.sharers())
	share.Cost = min(a.Cost, share.Limit.AtOnce())
	if e := l.entries[a.Bucket]; e != nil && e.full.After(now) {
		l.alone.buckets.update(a.Bucket, func(since, tat time.Duration) time.Duration {
			return max(tat, since+e.full.Sub(now))
		})
	}
	return share
}

// note remembers what was taken alone, to be told to Redis. The lock must be held.
func (l *Leased) note(now time.Time, a Ask) {
	s, ok := l.alone.taken[a.Bucket]
	if !ok && len(l.alone.taken) >= l.alone.most {
		return
	}
	s.bucket, s.limit = a.Bucket, a.Limit
	if a.Away != AwayLocal { // nobody bounded it
		a.Cost = min(a.Cost, a.Limit.AtOnce()-s.sum())
	}
	s.take(taking{begun: now, cost: a.Cost})
	l.alone.taken[a.Bucket] = s
}

func (l *Leased) lookAlone(ctx context.Context, now time.Time, asks []Ask, out []Decision) {
	for i, a := range asks {
		share := l.shareOf(now, a)
		_ = l.alone.buckets.Look(ctx, []Ask{share}, out[i:i+1])
		out[i].Local = true
	}
}

// probe looks whether Redis answers in time, and tells it that this replica is
// alive. As long as it answers at all it learns what is taken meanwhile, so that
// nothing is had twice, also where it is only too slow.
func (l *Leased) probe(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, probeFor)
	begun := l.o.Clock.Now()
	edges, err := l.shared.edges(asking, l.o.Name, edgeAlive)
	cancel()
	late := err == nil && l.o.Clock.Now().Sub(begun) > l.o.Timeout
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && !l.alone.away:
		l.failed(ctx, err)
	case err != nil:
		l.alone.answers = 0
	case late && !l.alone.away:
		l.failed(ctx, context.DeadlineExceeded)
		l.edges = edges
	case late:
		l.alone.answers, l.edges = 0, edges
	default:
		l.alone.answers++
		l.edges = edges
		if !l.alone.away {
			l.alone.failures = 0
		}
	}
	if err != nil || !l.alone.away {
		return
	}
	back := l.alone.answers >= backAnswers
	l.collect()
	l.mu.Unlock()
	told := l.flush(ctx)
	l.mu.Lock()
	if back && told == nil {
		l.alone.away, l.alone.failures, l.alone.cause = false, 0, nil
		l.o.Observe.Away(ctx, false, nil)
	}
}
