package limit

import (
	"context"
	"slices"
	"time"
)

const (
	// settleDelay is how long settlements wait for others to go with them, and
	// settleAtOnce is how many go together.
	settleDelay  = 10 * time.Millisecond
	settleAtOnce = 500
)

// settlement is what Redis is to be told of a bucket.
type settlement struct {
	bucket string
	limit  Limit
	cost   int // to be taken now; negative is given back
	// earlier is what was taken without Redis, in the order of time: what Redis had
	// then is refilled there meanwhile, unless others took it.
	earlier []taking
}

// taking is what was taken in a stretch of time.
type taking struct {
	begun time.Time
	cost  int
}

// maxTakings bounds how many a settlement has; the eldest become one.
const maxTakings = 16

func (s settlement) idle() bool { return s.cost == 0 && len(s.earlier) == 0 }

// with returns s and what came later.
func (s settlement) with(later settlement) settlement {
	s.limit, s.cost = later.limit, s.cost+later.cost
	for _, t := range later.earlier {
		s.take(t)
	}
	return s
}

// take adds what was taken. What came soon after what is there goes with it.
func (s *settlement) take(t taking) {
	n := len(s.earlier)
	if n > 0 && t.begun.Sub(s.earlier[n-1].begun) < max(tendInterval, s.limit.tolerance()/(maxTakings/2)) {
		s.earlier[n-1].cost += t.cost
		return
	}
	s.earlier = append(s.earlier, t)
	if n == maxTakings {
		s.earlier[1].begun = s.earlier[0].begun
		s.earlier[1].cost += s.earlier[0].cost
		s.earlier = slices.Delete(s.earlier, 0, 1)
	}
}

// sum is all of it.
func (s settlement) sum() int {
	n := s.cost
	for _, t := range s.earlier {
		n += t.cost
	}
	return n
}

// batch is settlements that are told together, until Redis has answered.
type batch struct {
	number uint64
	what   []settlement
}

// queue has a settlement made with the next ones. The lock must be held.
func (l *Leased) queue(s settlement) {
	q, ok := l.settles[s.bucket]
	if !ok && len(l.settles) >= l.o.MaxBuckets {
		return // Redis is away for long: what is not given back is refilled there
	}
	if ok {
		s = q.with(s)
	}
	l.settles[s.bucket] = s
}

// stir has what is queued told in a moment. The lock need not be held.
func (l *Leased) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// pack returns what is to be told next; nil when there is nothing. The lock must be held.
func (l *Leased) pack() *batch {
	if l.telling != nil {
		return l.telling
	}
	what := make([]settlement, 0, min(len(l.settles), settleAtOnce))
	for bucket, s := range l.settles {
		if len(what) == settleAtOnce {
			break
		}
		delete(l.settles, bucket)
		if !s.idle() {
			what = append(what, s)
		}
	}
	if len(what) == 0 {
		return nil
	}
	l.told++
	l.telling = &batch{number: l.told, what: what}
	return l.telling
}

// flush tells Redis what waits for it. What it did not answer to is told again, as
// the same, so that nothing counts twice and nothing is lost.
func (l *Leased) flush(ctx context.Context) error {
	select { // one after the other, by their numbers
	case l.flushing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.flushing }()
	for {
		l.mu.Lock()
		b := l.pack()
		l.mu.Unlock()
		if b == nil {
			return nil
		}
		asking, cancel := context.WithTimeout(ctx, lookTimeout)
		full, err := l.shared.settle(asking, l.o.Name, b.number, l.o.Clock.Now(), b.what)
		cancel()
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.telling = nil
		now := l.o.Clock.Now()
		for i, s := range b.what {
			if e := l.entries[s.bucket]; e != nil && e.limit == s.limit {
				e.full = now.Add(full[i])
			}
		}
		l.mu.Unlock()
	}
}

// collect has what was taken without Redis told to it. The lock must be held.
func (l *Leased) collect() {
	for _, s := range l.alone.taken {
		l.queue(s)
	}
	clear(l.alone.taken)
}
