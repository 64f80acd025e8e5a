package query

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
)

// ordering returns the keys that hits are ordered by, and how many of the best
// by score are ordered here. The index gives a lexical search the first in
// order of everything that it finds; other searches find as many as each leg
// gives, which are ordered once they are fused.
func ordering(q *index.Query, mode Mode, topK int) (keys []order.Key, best int) {
	if len(q.Order) == 0 {
		return nil, topK
	}
	keys = q.Order
	if mode == Lexical {
		q.Limit = topK
	} else {
		q.Order = nil
	}
	return keys, q.Limit
}

// ordered returns the first hits by the keys, ties by chunk id; without keys
// they are in order already.
func ordered(hits []Hit, keys []order.Key, topK int) ([]Hit, error) {
	if len(keys) == 0 {
		return hits, nil
	}
	type arranged struct {
		hit    Hit
		values []order.Value
	}
	all := make([]arranged, len(hits))
	for i, h := range hits {
		values, err := valuesOf(h, keys)
		if err != nil {
			return nil, err
		}
		all[i] = arranged{h, values}
	}
	slices.SortFunc(all, func(a, b arranged) int {
		return cmp.Or(
			order.Compare(keys, func(i int) order.Value { return a.values[i] }, func(i int) order.Value { return b.values[i] }),
			strings.Compare(a.hit.ID, b.hit.ID))
	})
	out := make([]Hit, min(topK, len(all)))
	for i := range out {
		out[i] = all[i].hit
	}
	return out, nil
}

func valuesOf(h Hit, keys []order.Key) ([]order.Value, error) {
	var metadata map[string]any
	if err := json.Unmarshal(h.Passage.Metadata, &metadata); err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", h.ID, err)
	}
	fields, err := filter.Fields(metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", h.ID, err)
	}
	out := make([]order.Value, len(keys))
	for i, k := range keys {
		switch k.By {
		case order.Title:
			out[i] = order.OfText(h.Passage.Title)
		case order.ID:
			out[i] = order.OfText(h.Passage.DocumentID)
		case order.CreateTime:
			out[i] = order.OfTime(h.Passage.CreateTime.UnixNano())
		case order.UpdateTime:
			out[i] = order.OfTime(h.Passage.UpdateTime.UnixNano())
		case order.Score:
			out[i] = order.Of(filter.NumberValue(h.Score))
		case order.Metadata:
			f, _ := filter.Find(fields, k.Path)
			out[i] = order.OfField(f)
		}
	}
	return out, nil
}
