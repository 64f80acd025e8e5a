package limit

import (
	"context"
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
	cost   int // all that is to be taken; negative is given back
	alone  alonePart
}

// alonePart is what of a settlement was taken without Redis.
type alonePart struct {
	cost  int
	begun time.Time // since when
	// When this replica's share is full again, where the share bounded it, and how
	// many replicas there were.
	full  time.Time
	edges int
}

// since is how long ago the first of it was taken: what Redis had then is refilled
// there meanwhile, unless others took it.
func (s settlement) since(now time.Time) time.Duration {
	if s.alone.begun.IsZero() {
		return 0
	}
	return max(now.Sub(s.alone.begun), 0)
}

// fresh is how much of the cost is not refilled, whenever it was taken.
func (s settlement) fresh(now time.Time) int {
	share := s.limit.share(max(s.alone.edges, 1)).interval()
	left := max(s.alone.full.Sub(now)+share-1, 0) / share
	return s.cost - s.alone.cost + min(s.alone.cost, int(left))
}

func (s settlement) with(other settlement) settlement {
	s.cost, s.limit = s.cost+other.cost, other.limit
	s.alone = s.alone.with(other.alone)
	return s
}

func (p alonePart) with(other alonePart) alonePart {
	if p.begun.IsZero() || !other.begun.IsZero() && other.begun.Before(p.begun) {
		p.begun = other.begun
	}
	if other.full.After(p.full) {
		p.full, p.edges = other.full, other.edges
	}
	p.cost += other.cost
	return p
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
		if s.cost != 0 {
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
