package limit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

const (
	memoryShards = 32
	// evictionSample is how many keys are looked at to make room for one: enough
	// to find one that is not in debt, and bounded, since a flood of new keys
	// pays for it each time.
	evictionSample = 16
)

// Memory is a Charger in this process. It holds a bounded number of keys: when
// there are more, those with the least debt are forgotten first, so that a
// flood of keys does not free a key that has used up its limit.
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

// NewMemory returns a limiter that holds at most maxKeys keys, about 100 bytes
// each.
func NewMemory(c clock.Clock, maxKeys int) *Memory {
	m := &Memory{clock: c, epoch: c.Now(), seed: maphash.MakeSeed(), perMap: max(maxKeys/memoryShards, 1)}
	for i := range m.shards {
		m.shards[i].tat = make(map[string]time.Duration)
	}
	return m
}

// Allow fails only for a limit that makes no sense.
func (m *Memory) Allow(_ context.Context, key string, cost int, l Limit) (d Decision, err error) {
	if err := l.check(cost); err != nil {
		return Decision{}, err
	}
	m.update(key, func(now, tat time.Duration) (next time.Duration) {
		next, d = gcra(now, tat, cost, l)
		return next
	})
	return d, nil
}

// Charge fails only for a limit that makes no sense.
func (m *Memory) Charge(_ context.Context, key string, cost int, l Limit) error {
	if err := l.check(cost); err != nil {
		return err
	}
	m.update(key, func(now, tat time.Duration) time.Duration { return charge(now, tat, cost, l) })
	return nil
}

// update gives key the tat that f makes of the one it has.
func (m *Memory) update(key string, f func(now, tat time.Duration) time.Duration) {
	s := &m.shards[maphash.String(m.seed, key)%memoryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock, so that time does not run backwards within a shard.
	now := m.clock.Now().Sub(m.epoch)
	tat, known := s.tat[key]
	if next := f(now, tat); next > now {
		if !known && len(s.tat) >= m.perMap {
			s.evict(now)
		}
		s.tat[key] = next
	}
}

// Len returns the number of keys held.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].tat)
		m.shards[i].mu.Unlock()
	}
	return n
}

// evict makes room. A key whose bucket is full again is the same as one never
// seen, so forgetting it changes nothing.
func (s *memoryShard) evict(now time.Duration) {
	victim, least, seen, freed := "", time.Duration(0), 0, false
	for key, tat := range s.tat { // Go begins at a random place
		if tat <= now {
			delete(s.tat, key)
			freed = true
		} else if victim == "" || tat < least {
			victim, least = key, tat
		}
		if seen++; seen >= evictionSample {
			break
		}
	}
	if !freed {
		delete(s.tat, victim)
	}
}
