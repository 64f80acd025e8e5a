package lexical

import (
	"strings"
	"sync"
)

// DefaultCacheBytes bounds a cache that nobody sized: all the postings of some
// hundred thousand passages, or the words that are asked for of some millions.
const DefaultCacheBytes = 128 << 20

// Cache holds lists that were read from segments, those used last, for all the
// indexes that share it. It is safe for concurrent use.
type Cache struct {
	limit int64

	mu   sync.Mutex
	size int64
	hits int64
	made int64 // entries that were not there
	ring entry // its next was used last, its prev is given up first
}

// entry is one list, or the room for it while it is read.
type entry struct {
	segment *segment
	term    string

	read sync.Once
	list *list
	err  error

	bytes      int64 // 0: not counted yet
	prev, next *entry
}

// NewCache returns a cache of about that many bytes.
func NewCache(limit int64) *Cache {
	c := &Cache{limit: limit}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

// CacheStats is how often lists were looked for and were there (Hits) or not
// (Misses), and how many bytes those take that are there.
type CacheStats struct{ Hits, Misses, Bytes int64 }

// Stats returns what became of the cache so far.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{Hits: c.hits, Misses: c.made, Bytes: c.size}
}

// entries appends the term's entry in each of the segments.
func (c *Cache) entries(out []*entry, segments []placed, term string) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range segments {
		s := segments[i].segment
		e := s.entries[term]
		if e == nil {
			e = &entry{segment: s, term: strings.Clone(term)} // a query must not be kept for its words
			s.entries[e.term] = e
			c.made++
		} else {
			c.hits++
			e.unlink()
		}
		c.link(e)
		out = append(out, e)
	}
	return out
}

// postings returns the entry's list; who comes first reads it.
func (c *Cache) postings(e *entry, read func() (*list, error)) (*list, error) {
	e.read.Do(func() {
		e.list, e.err = read()
		c.count(e)
	})
	return e.list, e.err
}

// count notes what an entry takes, and gives up what was not used for longest.
func (c *Cache) count(e *entry) {
	const overhead = 256
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.segment.entries[e.term] != e { // it was given up meanwhile
		return
	}
	if e.err != nil {
		c.remove(e)
		return
	}
	e.bytes = overhead + int64(len(e.term)) + e.list.memory()
	c.size += e.bytes
	for c.size > c.limit && c.ring.prev != &c.ring {
		c.remove(c.ring.prev)
	}
}

// forget gives up the lists of a segment that is gone.
func (c *Cache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range s.entries {
		c.remove(e)
	}
}

// recent returns the terms used last in segments of the index, at most limit.
func (c *Cache) recent(x *Index, limit int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	seen := make(map[string]struct{}, limit)
	for e := c.ring.next; e != &c.ring && len(out) < limit; e = e.next {
		if _, ok := seen[e.term]; !ok && e.segment.index == x {
			seen[e.term] = struct{}{}
			out = append(out, e.term)
		}
	}
	return out
}

func (c *Cache) link(e *entry) {
	e.prev, e.next = &c.ring, c.ring.next
	e.prev.next, e.next.prev = e, e
}

func (c *Cache) remove(e *entry) {
	delete(e.segment.entries, e.term)
	c.size -= e.bytes
	e.unlink()
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// has reports whether any list of the segment is there.
func (c *Cache) has(s *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(s.entries) > 0
}
