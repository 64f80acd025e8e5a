package embedded

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
)

// scope is what a query may find at all, known before anything is scored.
type scope struct {
	// slots are the documents that the caller may read and that pass the filter.
	slots *roaring.Bitmap
	// rows are their passages that have what the query requires and not what it
	// excludes; nil when it says nothing of the kind.
	rows *roaring.Bitmap
}

func (s scope) empty() bool { return s.slots.IsEmpty() || s.rows != nil && s.rows.IsEmpty() }

// scope returns what the query may find.
func (c *collection) scope(ctx context.Context, q index.Query) (scope, error) {
	s := scope{slots: c.memory.allowed(q.Principals, q.Filter)}
	if len(q.Require)+len(q.Exclude) == 0 || s.slots.IsEmpty() {
		return s, nil
	}
	s.rows = c.memory.rowsOf(s.slots)
	for _, p := range q.Require {
		having, err := c.matching(ctx, p)
		if err != nil {
			return scope{}, err
		}
		s.rows.And(having)
	}
	for _, p := range q.Exclude {
		having, err := c.matching(ctx, p)
		if err != nil {
			return scope{}, err
		}
		s.rows.AndNot(having)
	}
	return s, nil
}

// matching returns the rows that have the phrase, whoever may read them.
func (c *collection) matching(ctx context.Context, p analysis.Phrase) (*roaring.Bitmap, error) {
	if c.view == nil {
		return roaring.New(), nil
	}
	return c.view.Match(ctx, p, c.memory.rows())
}

// ranges returns the rows of the scope as ranges.
func (s scope) ranges(m *memory) []vector.Range {
	if s.rows == nil {
		return m.ranges(s.slots)
	}
	var out []vector.Range
	for it := s.rows.Iterator(); it.HasNext(); {
		row := it.Next()
		if n := len(out); n > 0 && out[n-1].First+out[n-1].Count == row {
			out[n-1].Count++
			continue
		}
		out = append(out, vector.Range{First: row, Count: 1})
	}
	return out
}

// rowsOf returns the rows of documents.
func (m *memory) rowsOf(slots *roaring.Bitmap) *roaring.Bitmap {
	out := roaring.New()
	for _, r := range m.ranges(slots) {
		out.AddRange(uint64(r.First), uint64(r.First)+uint64(r.Count))
	}
	return out
}

// slotsOf returns the documents that rows belong to.
func (m *memory) slotsOf(rows *roaring.Bitmap) *roaring.Bitmap {
	out := roaring.New()
	for it := rows.Iterator(); it.HasNext(); {
		out.Add(m.rowSlot[it.Next()])
	}
	return out
}
