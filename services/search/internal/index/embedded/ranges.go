package embedded

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// ranges returns the rows of the given slots, neighbours joined.
func (m *memory) ranges(slots *roaring.Bitmap) []vector.Range {
	count := int(slots.GetCardinality())
	if count < int(m.live.GetCardinality()) {
		return m.rangesOf(slots, min(count, len(m.slots)-count+1))
	}
	// Everything is asked for often, and there is much to walk through.
	m.ranging.Lock()
	defer m.ranging.Unlock()
	if m.allLive == nil {
		m.allLive = m.liveRanges(stays)
	}
	return m.allLive
}

// liveRanges returns the rows of all live slots, as they will be when they have
// moved, by their numbers. It is not nil.
func (m *memory) liveRanges(moved func(row uint32) (uint32, bool)) []vector.Range {
	out := []vector.Range{}
	for it := m.live.Iterator(); it.HasNext(); {
		s := &m.slots[it.Next()]
		if first, ok := moved(s.first); ok && s.count > 0 {
			out = joined(out, first, s.count)
		}
	}
	slices.SortFunc(out, func(a, b vector.Range) int { return cmp.Compare(a.First, b.First) })
	return out
}

// joined adds rows, to the last range when they follow it.
func joined(ranges []vector.Range, first, count uint32) []vector.Range {
	if n := len(ranges); n > 0 && ranges[n-1].First+ranges[n-1].Count == first {
		ranges[n-1].Count += count
		return ranges
	}
	return append(ranges, vector.Range{First: first, Count: count})
}

// cut takes rows that lie in one range out of ranges that are in order.
func cut(ranges []vector.Range, first, count uint32) []vector.Range {
	i, _ := slices.BinarySearchFunc(ranges, first, func(r vector.Range, at uint32) int {
		if r.First+r.Count <= at {
			return -1
		}
		return 1
	})
	r := ranges[i]
	var left []vector.Range
	if before := first - r.First; before > 0 {
		left = append(left, vector.Range{First: r.First, Count: before})
	}
	if end := r.First + r.Count; end > first+count {
		left = append(left, vector.Range{First: first + count, Count: end - first - count})
	}
	return slices.Replace(ranges, i, i+1, left...)
}

func (m *memory) rangesOf(slots *roaring.Bitmap, room int) []vector.Range {
	out := make([]vector.Range, 0, room)
	for it := slots.Iterator(); it.HasNext(); {
		if s := &m.slots[it.Next()]; s.count > 0 {
			out = joined(out, s.first, s.count)
		}
	}
	return out
}
