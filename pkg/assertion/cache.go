package assertion

import "sync"

// cache remembers what was used of late. It has two generations: when the younger
// is full the older goes as a whole, so that nothing has to be kept in the order
// of its use. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	limit int // the most bytes of one generation

	mu         sync.RWMutex
	young, old map[K]held[V]
	youngBytes int
}

type held[V any] struct {
	value V
	bytes int
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, young: make(map[K]held[V])}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.RLock()
	h, ok := c.young[key]
	if ok {
		c.mu.RUnlock()
		return h.value, true
	}
	h, ok = c.old[key]
	c.mu.RUnlock()
	if ok {
		c.put(key, h.value, h.bytes)
	}
	return h.value, ok
}

// known is get by a key that is a text, of which no copy is made.
func known[V any](c *cache[string, V], key []byte) (V, bool) {
	c.mu.RLock()
	h, ok := c.young[string(key)]
	c.mu.RUnlock()
	if ok {
		return h.value, true
	}
	return c.get(string(key))
}

// put remembers a value that takes so many bytes, with its key.
func (c *cache[K, V]) put(key K, value V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.young[key]; ok {
		c.youngBytes -= before.bytes
	} else if c.youngBytes+bytes > c.limit {
		c.old, c.young, c.youngBytes = c.young, make(map[K]held[V]), 0
	}
	c.young[key] = held[V]{value, bytes}
	c.youngBytes += bytes
}
