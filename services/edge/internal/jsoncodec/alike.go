package jsoncodec

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// What is in this file finds out, while a document is read, whether it is written alike:
// with the same members and values, in the same spelling. When in doubt it is not.

// writes notes that the plan has field f.
func (p *plan) writes(f *field) {
	switch {
	case f.absent:
	case f.index < 64:
		p.always |= 1 << f.index
	default:
		p.varies = true
	}
}

// missing notes an object's end: of fields that did not come some are written.
func (d *decoder) missing(p *plan, s *seen) {
	if p.varies || p.always&^s.low != 0 {
		d.differs = true
	}
}

// filled notes that a member was read, before which the message had so many bytes: one that
// is empty may not be written.
func (d *decoder) filled(f *field, before int) {
	// An empty value leaves nothing, or ends in its length or itself: zero.
	if f.absent && !f.desc.HasPresence() && (len(d.wire) == before || d.wire[len(d.wire)-1] == 0) {
		d.differs = true
	}
}

// spelled notes a string, whose escapes may be others than those that are written.
func (d *decoder) spelled(raw jsontext.Value) {
	d.differs = d.differs || !jsonmember.Quoted(raw)
}

// figures notes a number, which may have been given by other figures than it is written in.
func (d *decoder) figures(raw jsontext.Value, f float64, bits int) {
	d.differs = d.differs || bits != 64 || !jsonmember.Figures(raw, f)
}
