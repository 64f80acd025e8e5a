// Package topk keeps the best of many scored things in little memory, with
// ties decided by an order that is only asked when there is a tie.
package topk

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// Item is something with a score.
type Item struct {
	Key   uint32
	Score float64
}

// Collector keeps the best items. It is not safe for concurrent use.
type Collector struct {
	limit int
	heap  worstFirst
}

// Order says which of two things comes first, as strings.Compare does.
type Order func(a, b uint32) int

// ByID orders things by their ids.
func ByID(id func(key uint32) string) Order {
	return func(a, b uint32) int { return strings.Compare(id(a), id(b)) }
}

// New returns a collector of at most limit items; of two items with one score
// the one that comes first in the order is better.
func New(limit int, order Order) *Collector {
	return &Collector{limit: limit, heap: worstFirst{order: order}}
}

// Wants reports whether an item with that score might be kept: ask before
// doing work to find out whether it may be offered.
func (c *Collector) Wants(score float64) bool {
	return len(c.heap.items) < c.limit || c.limit > 0 && score >= c.heap.items[0].Score
}

// Worst returns the score of the worst item, and whether there are as many as
// may be kept: an item of a lower score is not wanted then.
func (c *Collector) Worst() (score float64, full bool) {
	if len(c.heap.items) == 0 {
		return 0, false
	}
	return c.heap.items[0].Score, len(c.heap.items) == c.limit
}

// Offer keeps the item if it is among the best so far.
func (c *Collector) Offer(it Item) {
	switch {
	case c.limit <= 0:
	case len(c.heap.items) < c.limit:
		heap.Push(&c.heap, it)
	case c.heap.worse(c.heap.items[0], it):
		c.heap.items[0] = it
		heap.Fix(&c.heap, 0)
	}
}

// Items returns what was kept, in no order.
func (c *Collector) Items() []Item { return c.heap.items }

// Best returns what was kept, best first.
func (c *Collector) Best() []Item {
	out := slices.Clone(c.heap.items)
	slices.SortFunc(out, func(a, b Item) int {
		if a.Score != b.Score {
			return cmp.Compare(b.Score, a.Score)
		}
		return c.heap.order(a.Key, b.Key)
	})
	return out
}

type worstFirst struct {
	items []Item
	order Order
}

func (h *worstFirst) worse(a, b Item) bool {
	if a.Score != b.Score {
		return a.Score < b.Score
	}
	return h.order(a.Key, b.Key) > 0
}

func (h *worstFirst) Len() int           { return len(h.items) }
func (h *worstFirst) Less(i, j int) bool { return h.worse(h.items[i], h.items[j]) }
func (h *worstFirst) Swap(i, j int)      { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *worstFirst) Push(x any) {
	if it, ok := x.(Item); ok {
		h.items = append(h.items, it)
	}
}

func (h *worstFirst) Pop() any {
	last := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return last
}
