package prefix

import (
	"slices"
	"sync"
	"sync/atomic"
)

// holders is how many copies are remembered for a block: a beginning that more
// than so many have is popular enough to be found.
const holders = 4

// Index remembers which copies were given which blocks. It is a guess at the
// engines' caches: a block counts as held until its copy was given as many
// other new blocks as its cache holds, which is least-recently-used eviction
// seen from outside. Memory is bounded: beyond the limit the blocks that were
// used least recently are forgotten. It is safe for concurrent use.
type Index struct {
	mu     sync.Mutex
	limit  int
	places map[uint64]uint32 // chain hash → entry
	// Entries are kept in one slice, linked by use; the collector finds no
	// pointers in it. Entry 0 is the ring's head.
	entries []entry
}

type entry struct {
	hash       uint64
	prev, next uint32
	held       [holders]held
}

// held says that a copy was given the block when its clock said stamp.
type held struct {
	copy  uint32 // 0 is nobody
	stamp uint32
}

// NewIndex returns an index of at most limit blocks, at about 80 bytes each.
func NewIndex(limit int) *Index {
	return &Index{limit: max(limit, 1), places: make(map[uint64]uint32), entries: make([]entry, 1)}
}

// Cache is what is believed of the cache of one copy's engine. The index guards
// it; the zero value must be given an id by Renew first.
type Cache struct {
	id atomic.Uint32
	// clock counts the new blocks that the copy was given.
	clock uint32
	// blocks is how many its cache is believed to hold; 0 is not known yet.
	blocks uint32
}

// ID is the number under which the index knows the cache.
func (c *Cache) ID() uint32 { return c.id.Load() }

// Renew makes the cache one that holds nothing, as after a start of the engine.
// id is above 0 and never used for another cache.
func (c *Cache) Renew(id uint32) { c.id.Store(id) }

// Held is how many blocks of a chain, from its beginning, a copy has.
type Held struct {
	ID     uint32
	Blocks int
}

// Find returns the copies that have the chain's beginning, in room, which may be
// nil. live returns the cache with an id, or nil when it is gone.
func (x *Index) Find(room []Held, chain Chain, live func(id uint32) *Cache) []Held {
	out := room[:0]
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, h := range chain {
		at, ok := x.places[h]
		if !ok {
			break
		}
		found := false
		for _, holder := range x.entries[at].held {
			if holder.copy == 0 || !fresh(holder, live(holder.copy)) {
				continue
			}
			if extend(&out, holder.copy, i) {
				found = true
			}
		}
		if !found {
			break
		}
	}
	return out
}

// extend notes that copy has block i, if it has those before it.
func extend(out *[]Held, id uint32, i int) bool {
	for j := range *out {
		if h := &(*out)[j]; h.ID == id {
			if h.Blocks == i {
				h.Blocks++
				return true
			}
			return false
		}
	}
	if i == 0 {
		*out = append(*out, Held{ID: id, Blocks: 1})
		return true
	}
	return false
}

// fresh reports whether the copy has not been given too much since.
func fresh(h held, c *Cache) bool {
	return c != nil && (c.blocks == 0 || c.clock-h.stamp < c.blocks)
}

// Add notes that a copy is given a prompt.
func (x *Index) Add(chain Chain, c *Cache) {
	x.mu.Lock()
	defer x.mu.Unlock()
	id := c.ID()
	// The beginning is noted last: it is needed for what follows it to count,
	// and so must be forgotten last.
	for _, h := range slices.Backward(chain) {
		e := x.touch(h)
		slot, known := e.slot(id)
		if !known || !fresh(e.held[slot], c) {
			c.clock++
		}
		e.held[slot] = held{copy: id, stamp: c.clock}
	}
}

// slot returns where the holder is noted, or is to be: a free place, or that of
// a holder that any of the others is as good as.
func (e *entry) slot(id uint32) (at int, known bool) {
	at = int(id % holders)
	for j, h := range e.held {
		if h.copy == id {
			return j, true
		}
		if h.copy == 0 {
			at = j
		}
	}
	return at, false
}

// Learn corrects what is believed of a copy's cache: an engine that had less of
// a prompt than was expected holds less than was thought. expected and found
// are blocks.
func (x *Index) Learn(c *Cache, expected, found int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case expected <= 1 || c.blocks == 0 && found >= expected-1:
	case found < expected/2:
		// Not less than the prompts that it was just asked for.
		known := c.blocks
		if known == 0 {
			known = max(c.clock, 1)
		}
		c.blocks = max(known-known/8, uint32(expected), minCache)
	case found >= expected-1:
		c.blocks += c.blocks/64 + 1
	}
}

// minCache is the smallest cache believed in, in blocks.
const minCache = 32

// Len returns how many blocks are remembered.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.places)
}

// touch returns the entry of a block, made when it is new, as the one used
// last; x.mu is held.
func (x *Index) touch(h uint64) *entry {
	at, ok := x.places[h]
	switch {
	case ok:
		x.unlink(at)
	case len(x.places) < x.limit:
		at = uint32(len(x.entries))
		x.entries = append(x.entries, entry{})
	default:
		at = x.entries[0].prev // the one used least recently
		x.unlink(at)
		delete(x.places, x.entries[at].hash)
		x.entries[at] = entry{}
	}
	if !ok {
		x.places[h] = at
		x.entries[at].hash = h
	}
	head := &x.entries[0]
	e := &x.entries[at]
	e.prev, e.next = 0, head.next
	x.entries[head.next].prev = at
	head.next = at
	return e
}

func (x *Index) unlink(at uint32) {
	e := &x.entries[at]
	x.entries[e.prev].next = e.next
	x.entries[e.next].prev = e.prev
}
