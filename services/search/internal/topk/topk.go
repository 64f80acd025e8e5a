// Package topk keeps the best of many scored things in little memory, with
// ties decided by an order that is only asked when there is a tie.
package topk

import (
	"cmp"
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
	order Order
	items []Item // a heap, the worst on top
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
	return &Collector{limit: limit, order: order}
}

// Wants reports whether an item with that score might be kept: ask before
// doing work to find out whether it may be offered.
func (c *Collector) Wants(score float64) bool {
	return len(c.items) < c.limit || c.limit > 0 && score >= c.items[0].Score
}

// Worst returns the score of the worst item, and whether there are as many as
// may be kept: an item of a lower score is not wanted then.
func (c *Collector) Worst() (score float64, full bool) {
	if len(c.items) == 0 {
		return 0, false
	}
	return c.items[0].Score, len(c.items) == c.limit
}

// Offer keeps the item if it is among the best so far.
func (c *Collector) Offer(it Item) {
	switch {
	case c.limit <= 0:
	case len(c.items) < c.limit:
		c.items = append(c.items, it)
		c.rise(len(c.items)-1, it)
	case c.worse(c.items[0], it):
		c.sink(it)
	}
}

// rise puts the item where it belongs between the last place and the top. Package
// container/heap would do the same through an interface, item by item.
func (c *Collector) rise(at int, it Item) {
	for at > 0 {
		above := (at - 1) / 2
		if !c.worse(it, c.items[above]) {
			break
		}
		c.items[at] = c.items[above]
		at = above
	}
	c.items[at] = it
}

// sink puts the item in the place of the worst, and then where it belongs.
func (c *Collector) sink(it Item) {
	at := 0
	for below := 1; below < len(c.items); below = 2*at + 1 {
		if other := below + 1; other < len(c.items) && c.worse(c.items[other], c.items[below]) {
			below = other
		}
		if !c.worse(c.items[below], it) {
			break
		}
		c.items[at] = c.items[below]
		at = below
	}
	c.items[at] = it
}

// Items returns what was kept, in no order.
func (c *Collector) Items() []Item { return c.items }

// Best returns what was kept, best first.
func (c *Collector) Best() []Item {
	out := slices.Clone(c.items)
	slices.SortFunc(out, func(a, b Item) int {
		if a.Score != b.Score {
			return cmp.Compare(b.Score, a.Score)
		}
		return c.order(a.Key, b.Key)
	})
	return out
}

func (c *Collector) worse(a, b Item) bool {
	if a.Score != b.Score {
		return a.Score < b.Score
	}
	return c.order(a.Key, b.Key) > 0
}
