package embedded

import (
	"slices"

	"github.com/poterne/poterne/services/search/internal/vector"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// moving is the exchange of segments for the one that they were merged into, or
// for none: all that can be known of it before searches must wait. It holds as
// long as the memory does not change. The tail must be empty.
type moving struct {
	from []*segment.Segment
	to   *segment.Segment

	layout *layout
	rows   vector.Moved
	slots  []uint32   // of the versions of to; vector.NoRow for one that is gone
	moved  [][]uint32 // where rows will be, of blocks that go away
	live   []vector.Range
}

// moving prepares apply; it only reads.
func (m *memory) moving(from []*segment.Segment, to *segment.Segment) *moving {
	v := &moving{from: from, to: to, layout: new(layout)}
	v.moved = make([][]uint32, m.vectors.Blocks())
	for _, p := range m.parts {
		if !slices.Contains(from, p.segment) {
			continue
		}
		for at := p.first; at < p.first+uint32(p.segment.Rows()); at += vector.BlockRows {
			v.moved[at/vector.BlockRows] = slices.Repeat([]uint32{vector.NoRow}, vector.BlockRows)
		}
	}
	if to != nil {
		v.place(m)
	}
	m.ranging.Lock()
	known := m.allLive != nil
	m.ranging.Unlock()
	if known {
		v.live = m.liveRanges(v.row)
	}
	return v
}

// place finds where the rows of the merged segment are and will be.
func (v *moving) place(m *memory) {
	old := make([]uint32, 0, v.to.Rows())
	for _, k := range v.to.Keys() {
		n, ok := m.byNo[k.No]
		first := uint32(0)
		if ok {
			first = m.slots[n].first
			ok = v.moved[first/vector.BlockRows] != nil // or it has other rows, which stay
		}
		if !ok {
			n = vector.NoRow
		}
		v.slots = append(v.slots, n)
		for i := range k.Count {
			if ok {
				old = append(old, first+i)
			} else {
				old = append(old, vector.NoRow)
			}
		}
	}
	v.rows = m.vectors.Moving(old)
	for i, row := range old {
		if row != vector.NoRow {
			v.moved[row/vector.BlockRows][row%vector.BlockRows] = uint32(v.rows.First + i)
		}
	}
}

// row returns where a row will be; false for one that will be gone.
func (v *moving) row(row uint32) (uint32, bool) {
	if i := int(row / vector.BlockRows); i < len(v.moved) && v.moved[i] != nil {
		row = v.moved[i][row%vector.BlockRows]
	}
	return row, row != vector.NoRow
}

// apply makes the exchange. Nobody may be searching.
func (v *moving) apply(m *memory) {
	m.allLive, m.layout = v.live, v.layout
	var gone, kept []part
	for _, p := range m.parts {
		if slices.Contains(v.from, p.segment) {
			gone = append(gone, p)
		} else {
			kept = append(kept, p)
		}
	}
	if v.to != nil {
		kept = append(kept, v.attach(m))
	}
	for _, p := range gone {
		m.vectors.Drop(int(p.first), p.segment.Rows())
	}
	m.parts = kept
	m.tail = uint32(m.vectors.Rows())
}

// attach adds the merged segment's rows, which are there already.
func (v *moving) attach(m *memory) part {
	m.vectors.AttachMoved(v.to.Blocks(), v.rows)
	p := part{segment: v.to, first: uint32(v.rows.First)}
	at := p.first
	for i, k := range v.to.Keys() {
		if n := v.slots[i]; n != vector.NoRow {
			m.slots[n].first = at
			m.own(at, k.Count, n)
			p.live += int(k.Count)
		}
		at += k.Count
	}
	return p
}
