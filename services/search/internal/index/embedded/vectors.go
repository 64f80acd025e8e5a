package embedded

import (
	"fmt"
	"sort"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// part is a segment's rows in the matrix.
type part struct {
	segment *segment.Segment
	first   uint32
	// live is how many of its rows belong to versions that are not gone.
	live int
}

// encoded returns the version as the store of vectors takes it.
func encoded(d index.Document, l vector.Layout) segment.Version {
	v := segment.Version{Key: segment.Key{No: d.No, Count: uint32(len(d.Chunks))}}
	v.Rows = make([]byte, 0, len(d.Chunks)*l.Stride())
	for _, ch := range d.Chunks {
		v.Terms += uint32(ch.Terms)
		v.Rows = l.Encode(v.Rows, ch.Vector)
	}
	return v
}

// checkVectors reports what is wrong with a document's chunks.
func checkVectors(d index.Document, l vector.Layout) error {
	for i, c := range d.Chunks {
		switch {
		case c.Number != i:
			return fmt.Errorf("embedded index: chunk %d of version %d is numbered %d", i, d.No, c.Number)
		case len(c.Vector) != l.Width:
			return fmt.Errorf("embedded index: a vector of version %d has %d dimensions, the collection %d",
				d.No, len(c.Vector), l.Width)
		}
	}
	return nil
}

// appendRows adds a version's rows to the tail and returns the first.
func (m *memory) appendRows(v segment.Version) uint32 {
	first := uint32(m.vectors.Rows())
	stride := m.vectors.Layout().Stride()
	for rows := v.Rows; len(rows) > 0; rows = rows[stride:] {
		m.vectors.AppendEncoded(rows[:stride])
	}
	return first
}

// sealed notes that the tail is a segment now.
func (m *memory) sealed(seg *segment.Segment) {
	p := part{segment: seg, first: m.tail}
	m.vectors.Exchange(int(m.tail), seg.Blocks())
	m.tail = uint32(m.vectors.Rows())
	at := p.first
	for _, k := range seg.Keys() {
		if n, ok := m.byNo[k.No]; ok && m.slots[n].first == at {
			p.live += int(k.Count)
		}
		at += k.Count
	}
	m.parts = append(m.parts, p)
}

// stride is how many bytes a row takes.
func (m *memory) stride() int {
	if m.vectors == nil {
		return 0
	}
	return m.vectors.Layout().Stride()
}

// partOf returns the part that a row lies in; nil for the tail.
func (m *memory) partOf(row uint32) *part {
	if row >= m.tail {
		return nil
	}
	i := sort.Search(len(m.parts), func(i int) bool { return m.parts[i].first > row })
	return &m.parts[i-1]
}
