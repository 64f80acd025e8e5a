package limit

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

const (
	memoryShards = 32 // as many as a set of them has bits
	// evictionSample is how many buckets are looked at to make room for one: enough
	// to find one that is not in debt, and bounded, since a flood of new buckets
	// pays for it each time.
	evictionSample = 16
)

// Memory is a Charger and Buckets in this process. It holds a bounded number of
// buckets: when there are more, those with the least debt are forgotten first, so
// that a flood of them does not free one that has used up its limit.
type Memory struct {
	clock  clock.Clock
	epoch  time.Time
	seed   maphash.Seed
	perMap int
	shards [memoryShards]memoryShard
}

type memoryShard struct {
	mu  sync.Mutex
	tat map[string]time.Duration
}

// NewMemory returns a limiter that holds at most maxBuckets, about 100 bytes each.
func NewMemory(c clock.Clock, maxBuckets int) *Memory {
	m := &Memory{clock: c, epoch: c.Now(), seed: maphash.MakeSeed(), perMap: max(maxBuckets/memoryShards, 1)}
	for i := range m.shards {
		m.shards[i].tat = make(map[string]time.Duration)
	}
	return m
}

// Allow fails only for a limit that makes no sense.
func (m *Memory) Allow(_ context.Context, bucket string, cost int, l Limit) (d Decision, err error) {
	if err := l.check(cost); err != nil {
		return Decision{}, err
	}
	m.update(bucket, func(now, tat time.Duration) (next time.Duration) {
		next, d = gcra(now, tat, cost, l)
		return next
	})
	return d, nil
}

// Charge fails only for a limit that makes no sense.
func (m *Memory) Charge(_ context.Context, bucket string, cost int, l Limit) error {
	if err := l.check(cost); err != nil {
		return err
	}
	m.update(bucket, func(now, tat time.Duration) time.Duration { return settle(now, tat, cost, l) })
	return nil
}

// Take fails only for a limit that makes no sense.
func (m *Memory) Take(_ context.Context, asks []Ask, out []Decision) (int, error) {
	if err := checkAll(asks); err != nil {
		return None, err
	}
	set := m.lock(asks)
	defer m.unlock(set)
	now := m.now()
	refused := None
	for i, a := range asks {
		if _, out[i] = gcra(now, m.of(a.Bucket).tat[a.Bucket], a.Cost, a.Limit); !out[i].Allowed && refused == None {
			refused = i
		}
	}
	for i, a := range asks {
		s := m.of(a.Bucket)
		tat := s.tat[a.Bucket]
		if refused == None {
			tat, _ = gcra(now, tat, a.Cost, a.Limit)
			s.put(a.Bucket, tat, now, m.perMap)
		} else if out[i].Allowed {
			out[i] = state(now, tat, a.Limit)
		}
	}
	return refused, nil
}

// Look fails only for a limit that makes no sense.
func (m *Memory) Look(_ context.Context, asks []Ask, out []Decision) error {
	for i, a := range asks {
		if err := a.Limit.Check(); err != nil {
			return err
		}
		m.update(a.Bucket, func(now, tat time.Duration) time.Duration {
			out[i] = state(now, tat, a.Limit)
			return tat
		})
	}
	return nil
}

// Settle fails only for a limit that makes no sense.
func (m *Memory) Settle(_ context.Context, asks []Ask) error {
	for _, a := range asks {
		if err := a.Limit.Check(); err != nil {
			return err
		}
		m.update(a.Bucket, func(now, tat time.Duration) time.Duration { return settle(now, tat, a.Cost, a.Limit) })
	}
	return nil
}

func (m *Memory) now() time.Duration { return m.clock.Now().Sub(m.epoch) }

func (m *Memory) index(bucket string) uint64 { return maphash.String(m.seed, bucket) % memoryShards }

func (m *Memory) of(bucket string) *memoryShard { return &m.shards[m.index(bucket)] }

// lock locks the asks' shards, always in the same order, and returns their set.
func (m *Memory) lock(asks []Ask) uint32 {
	var set uint32
	for _, a := range asks {
		set |= 1 << m.index(a.Bucket)
	}
	for left := set; left != 0; left &= left - 1 {
		m.shards[bits.TrailingZeros32(left)].mu.Lock()
	}
	return set
}

func (m *Memory) unlock(set uint32) {
	for ; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros32(set)].mu.Unlock()
	}
}

// update gives a bucket the tat that f makes of the one it has.
func (m *Memory) update(bucket string, f func(now, tat time.Duration) time.Duration) {
	s := m.of(bucket)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock, so that time does not run backwards within a shard.
	now := m.now()
	s.put(bucket, f(now, s.tat[bucket]), now, m.perMap)
}

// Len returns the number of buckets held.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].tat)
		m.shards[i].mu.Unlock()
	}
	return n
}

func (s *memoryShard) put(bucket string, tat, now time.Duration, most int) {
	_, known := s.tat[bucket]
	switch {
	case tat > now:
		if !known && len(s.tat) >= most {
			s.evict(now)
		}
		s.tat[bucket] = tat
	case known:
		delete(s.tat, bucket)
	}
}

// evict makes room. A bucket that is full again is the same as one never seen, so
// forgetting it changes nothing.
func (s *memoryShard) evict(now time.Duration) {
	victim, least, seen, freed := "", time.Duration(0), 0, false
	for bucket, tat := range s.tat { // Go begins at a random place
		if tat <= now {
			delete(s.tat, bucket)
			freed = true
		} else if victim == "" || tat < least {
			victim, least = bucket, tat
		}
		if seen++; seen >= evictionSample {
			break
		}
	}
	if !freed {
		delete(s.tat, victim)
	}
}
