package filter

import (
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"
)

// Tally is how many documents have which values.
type Tally struct {
	// Values are as Shown has them.
	Values map[Value]int
	// Missing is how many have nothing there.
	Missing int
}

// Count counts the values at the path over the documents.
func (c *Columns) Count(path string, docs *roaring.Bitmap) Tally {
	col := c.fields[path]
	if col == nil {
		return Tally{Missing: int(docs.GetCardinality())}
	}
	out := Tally{Values: make(map[Value]int), Missing: int(docs.GetCardinality() - docs.AndCardinality(col.present))}
	cut := make(map[Value]*roaring.Bitmap) // of values that are shown as one
	for _, values := range []map[Value]*roaring.Bitmap{col.scalars, col.items} {
		for v, set := range values {
			if len(v.Text) > MaxShownBytes-utf8.UTFMax { // may be what another one is cut to
				shown := Shown(v)
				if cut[shown] == nil {
					cut[shown] = roaring.New()
				}
				cut[shown].Or(set)
				continue
			}
			if n := docs.AndCardinality(set); n > 0 {
				out.Values[v] += int(n)
			}
		}
	}
	for v, set := range cut {
		if n := docs.AndCardinality(set); n > 0 {
			out.Values[v] = int(n)
		}
	}
	return out
}

// Distinct returns how many values there are at the path.
func (c *Columns) Distinct(path string) int {
	col := c.fields[path]
	if col == nil {
		return 0
	}
	return len(col.scalars) + len(col.items)
}

// CountRange counts the documents that have a value at the path from one on and
// before another, of the kind of these; nil is no bound. Strings count as the
// moments that they write.
func (c *Columns) CountRange(path string, docs *roaring.Bitmap, from, to *Value) int {
	col := c.fields[path]
	if col == nil {
		return 0
	}
	within := roaring.New()
	for _, values := range []map[Value]*roaring.Bitmap{col.scalars, col.items} {
		for v, set := range values {
			if inRange(v, from, to) {
				within.Or(set)
			}
		}
	}
	return int(docs.AndCardinality(within))
}

func inRange(v Value, from, to *Value) bool {
	if from != nil && from.Kind == Time || to != nil && to.Kind == Time {
		var ok bool
		if v, ok = v.AsTime(); !ok {
			return false
		}
	}
	return (from == nil || GreaterEqual.passes(v, *from)) && (to == nil || Less.passes(v, *to))
}
