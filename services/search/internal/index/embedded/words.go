package embedded

import (
	"github.com/poterne/poterne/services/search/internal/lexical"
)

// rows tells the words where passages are.
func (m *memory) rows() lexical.Rows {
	return lexical.Rows{Layout: m.layout, Row: m.row, Order: m.byID}
}

// fewOf is the part of the slots, one in so many, up to which the words are only
// asked of the slots that are allowed.
const fewOf = 16

// allowing is rows, of which only those of the scope may be found.
func (m *memory) allowing(s scope) lexical.Rows {
	r := m.rows()
	if s.rows != nil {
		r.Allowed = s.rows.Contains
		if fewOf*s.rows.GetCardinality() <= uint64(len(m.rowSlot)) {
			r.Few = func(yield func(row uint32) bool) { s.rows.Iterate(yield) }
		}
		return r
	}
	allowed, all := s.slots.GetCardinality(), m.live.GetCardinality()
	if allowed == all {
		return r
	}
	r.Allowed = func(row uint32) bool { return s.slots.Contains(m.rowSlot[row]) }
	if fewOf*allowed <= all {
		r.Few = func(yield func(row uint32) bool) {
			for it := s.slots.Iterator(); it.HasNext(); {
				s := &m.slots[it.Next()]
				for row := s.first; row < s.first+s.count; row++ {
					if !yield(row) {
						return
					}
				}
			}
		}
	}
	return r
}
