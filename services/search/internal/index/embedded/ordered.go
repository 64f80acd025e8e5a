package embedded

import (
	"container/heap"
	"slices"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/order"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// ordered returns the first of the rows in the given order, ties by chunk id.
func (m *memory) ordered(found []topk.Item, keys []order.Key, limit int) []topk.Item {
	first := &lastFirst{m: m, keys: keys}
	values := make([]order.Value, len(keys)) // copied for rows that are kept
	for _, it := range found {
		a := arranged{item: it, values: values}
		for j, k := range keys {
			a.values[j] = first.value(it, k)
		}
		switch {
		case len(first.rows) < limit:
			a.values = slices.Clone(values)
			heap.Push(first, a)
		case limit > 0 && first.compare(a, first.rows[0]) < 0:
			a.values = slices.Clone(values)
			first.rows[0] = a
			heap.Fix(first, 0)
		}
	}
	slices.SortFunc(first.rows, first.compare)
	out := make([]topk.Item, len(first.rows))
	for i, a := range first.rows {
		out[i] = a.item
	}
	return out
}

// arranged is a row with what it has for each key.
type arranged struct {
	item   topk.Item
	values []order.Value
}

// lastFirst is a heap of the first rows in order, the last of them on top.
type lastFirst struct {
	m    *memory
	keys []order.Key
	rows []arranged
	room []filter.Value
}

// compare looks up chunk ids only for ties.
func (h *lastFirst) compare(a, b arranged) int {
	c := order.Compare(h.keys, func(i int) order.Value { return a.values[i] }, func(i int) order.Value { return b.values[i] })
	if c != 0 {
		return c
	}
	return h.m.byID(a.item.Key, b.item.Key)
}

func (h *lastFirst) Len() int           { return len(h.rows) }
func (h *lastFirst) Less(i, j int) bool { return h.compare(h.rows[i], h.rows[j]) > 0 }
func (h *lastFirst) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *lastFirst) Push(x any) {
	if a, ok := x.(arranged); ok {
		h.rows = append(h.rows, a)
	}
}

func (h *lastFirst) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows = h.rows[:len(h.rows)-1]
	return last
}

// value returns what a row has for a key.
func (h *lastFirst) value(it topk.Item, k order.Key) order.Value {
	s := &h.m.slots[h.m.rowSlot[it.Key]]
	switch k.By {
	case order.Title:
		return order.OfText(h.m.records.title(s.record))
	case order.ID:
		return order.OfText(h.m.records.id(s.record))
	case order.CreateTime:
		return order.OfTime(s.created)
	case order.UpdateTime:
		return order.OfTime(s.updated)
	case order.Score:
		return order.Of(filter.NumberValue(it.Score))
	case order.Metadata:
		fallthrough
	default:
		f, ok := h.m.records.field(s.record, k.Path, h.room)
		if ok {
			h.room = f.Values
		}
		return order.OfField(f)
	}
}
