package embedded

import (
	"cmp"
	"slices"
	"strings"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/order"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// ordered returns the first of the rows in the given order, ties by chunk id.
func (m *memory) ordered(found []topk.Item, keys []order.Key, limit int) []topk.Item {
	values := make([]order.Value, len(found)*len(keys))
	places := make([]int, len(found))
	for i, it := range found {
		places[i] = i
		for j, k := range keys {
			values[i*len(keys)+j] = m.orderValue(it, k)
		}
	}
	of := func(place int) func(int) order.Value {
		return func(key int) order.Value { return values[place*len(keys)+key] }
	}
	slices.SortFunc(places, func(a, b int) int {
		return cmp.Or(order.Compare(keys, of(a), of(b)), strings.Compare(m.chunkID(found[a].Key), m.chunkID(found[b].Key)))
	})
	out := make([]topk.Item, min(limit, len(places)))
	for i := range out {
		out[i] = found[places[i]]
	}
	return out
}

func (m *memory) orderValue(it topk.Item, k order.Key) order.Value {
	s := &m.slots[m.rowSlot[it.Key]]
	switch k.By {
	case order.Title:
		return order.OfText(s.title)
	case order.ID:
		return order.OfText(s.id)
	case order.CreateTime:
		return order.OfTime(s.created)
	case order.UpdateTime:
		return order.OfTime(s.updated)
	case order.Score:
		return order.Of(filter.NumberValue(it.Score))
	case order.Metadata:
		fallthrough
	default:
		f, _ := filter.Find(s.fields, k.Path)
		return order.OfField(f)
	}
}
