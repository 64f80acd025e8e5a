package embedded

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// noCounts answers facets over no documents.
func noCounts(facets []index.Facet) []index.Counts {
	out := make([]index.Counts, len(facets))
	for i, f := range facets {
		out[i].Ranges = make([]int, len(f.Ranges))
	}
	return out
}

func (c *collection) facets(ctx context.Context, q index.Query, s scope) ([]index.Counts, error) {
	if len(q.Facets) == 0 || len(q.Vector)+len(q.Terms) == 0 {
		return noCounts(q.Facets), nil
	}
	docs, err := c.counted(ctx, q, s)
	if err != nil {
		return nil, err
	}
	out := make([]index.Counts, len(q.Facets))
	for i, f := range q.Facets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tally := c.memory.tally(f.Path, docs)
		out[i] = index.Tally(f, tally.Values, tally.Missing)
		for j, r := range f.Ranges {
			out[i].Ranges[j] = c.memory.columns.CountRange(f.Path, docs, r.From, r.To)
		}
	}
	return out, nil
}

// dear is how many documents can be looked into in the time that it takes to
// compare one value's documents with those that are counted.
const dear = 4

// tally counts by values when they are few, and by documents when they are not.
func (m *memory) tally(path string, docs *roaring.Bitmap) filter.Tally {
	if uint64(m.columns.Distinct(path)) <= docs.GetCardinality()/dear {
		return m.columns.Count(path, docs)
	}
	out := filter.Tally{Values: make(map[filter.Value]int)}
	var room []filter.Value
	for it := docs.Iterator(); it.HasNext(); {
		f, ok := m.records.field(m.slots[it.Next()].record, path, room)
		if !ok {
			out.Missing++
			continue
		}
		room = f.Values
		for i, v := range f.Values {
			v = filter.Shown(v)
			// Values that are shown as one count once.
			if len(v.Text) <= filter.MaxShownBytes-utf8.UTFMax || !slices.ContainsFunc(f.Values[:i], func(o filter.Value) bool { return filter.Shown(o) == v }) {
				out.Values[v]++
			}
		}
	}
	return out
}

// counted returns the documents that facets are counted over.
func (c *collection) counted(ctx context.Context, q index.Query, s scope) (*roaring.Bitmap, error) {
	if len(q.Vector) > 0 {
		if s.rows == nil {
			return s.slots, nil
		}
		return c.memory.slotsOf(s.rows), nil
	}
	if c.view == nil {
		return roaring.New(), nil
	}
	having, err := c.view.MatchAny(ctx, q.Terms, c.memory.allowing(s))
	if err != nil {
		return nil, err
	}
	if s.rows != nil {
		having.And(s.rows)
	}
	docs := c.memory.slotsOf(having)
	docs.And(s.slots)
	return docs, nil
}
