package respcache

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/poterne/poterne/pkg/clock"
)

// memory keeps the answers that were used last, up to a number of bytes. It is safe
// for concurrent use.
type memory struct {
	most  int64
	clock clock.Clock

	mu    sync.Mutex
	bytes int64
	lru   *simplelru.LRU[Key, kept]
}

// kept is an answer and what it counted for when it came.
type kept struct {
	*Entry

	size int64
}

func newMemory(most int64, c clock.Clock) (*memory, error) {
	m := &memory{most: most, clock: c}
	var err error
	// It is bounded by bytes, and calls back under the lock.
	m.lru, err = simplelru.NewLRU(math.MaxInt, func(_ Key, k kept) { m.bytes -= k.size })
	return m, err
}

// get returns what is kept and not yet of no use.
func (m *memory) get(k Key) (*Entry, bool) {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.lru.Get(k)
	if ok && useless(e.Entry, now) {
		m.lru.Remove(k)
		return nil, false
	}
	return e.Entry, ok
}

// set keeps an answer; one that is larger than all that may be kept is not.
func (m *memory) set(k Key, e *Entry) {
	size := int64(e.Size())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lru.Remove(k) // so that what it took is given back
	if size > m.most || useless(e, m.clock.Now()) {
		return
	}
	m.lru.Add(k, kept{e, size})
	for m.bytes += size; m.bytes > m.most; {
		m.lru.RemoveOldest()
	}
}

// size returns how many answers are kept, and their bytes.
func (m *memory) size() (entries, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(m.lru.Len()), m.bytes
}

// useless reports whether an answer is too old even for who takes stale ones.
func useless(e *Entry, now time.Time) bool { return e.Age(now) >= e.TTL+e.Stale }
