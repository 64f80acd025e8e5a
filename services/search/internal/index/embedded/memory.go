package embedded

import (
	"fmt"
	"strconv"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/lexical"
	"github.com/poterne/poterne/services/search/internal/vector"
)

// slot is one version of a document in memory. Its chunks are rows that lie
// together, in order.
type slot struct {
	no         int64
	id         string
	first      uint32
	count      uint32
	terms      int64
	principals []string
	fields     []filter.Field
	// For orders; the times in nanoseconds since 1970.
	title            string
	created, updated int64
}

// memory is what is known of a collection's documents apart from their words.
// Slots and rows are only added; those of documents that are gone stay behind
// until compacted leaves them out.
type memory struct {
	slots   []slot
	byNo    map[int64]uint32
	rowSlot []uint32 // which slot a row belongs to
	vectors *vector.Matrix

	live       *roaring.Bitmap            // slots that are not gone
	principals map[string]*roaring.Bitmap // slots that name the principal
	columns    *filter.Columns

	stats lexical.Stats
}

func newMemory() *memory {
	return &memory{
		byNo:       make(map[int64]uint32),
		live:       roaring.New(),
		principals: make(map[string]*roaring.Bitmap),
		columns:    filter.NewColumns(),
	}
}

// add adds a version that is not there.
func (m *memory) add(d index.Document) error {
	if err := m.checkVectors(d); err != nil {
		return err
	}
	s := slot{
		no: d.No, id: d.ID, principals: d.Principals, fields: d.Fields,
		first: uint32(len(m.rowSlot)), count: uint32(len(d.Chunks)),
		title: d.Title, created: d.CreateTime.UnixNano(), updated: d.UpdateTime.UnixNano(),
	}
	for _, c := range d.Chunks {
		s.terms += int64(c.Terms)
		m.vectors.Append(c.Vector)
	}
	m.place(s)
	return nil
}

// place notes a slot whose vectors are there.
func (m *memory) place(s slot) {
	n := uint32(len(m.slots))
	m.slots = append(m.slots, s)
	m.byNo[s.no] = n
	for range s.count {
		m.rowSlot = append(m.rowSlot, n)
	}
	m.live.Add(n)
	for _, p := range s.principals {
		set := m.principals[p]
		if set == nil {
			set = roaring.New()
			m.principals[p] = set
		}
		set.Add(n)
	}
	m.columns.Add(n, s.fields)
	m.stats.Passages += int(s.count)
	m.stats.Terms += s.terms
}

func (m *memory) checkVectors(d index.Document) error {
	for i, c := range d.Chunks {
		if c.Number != i {
			return fmt.Errorf("embedded index: chunk %d of version %d is numbered %d", i, d.No, c.Number)
		}
		if m.vectors == nil {
			m.vectors = vector.NewMatrix(len(c.Vector))
		}
		if len(c.Vector) != m.vectors.Width() || len(c.Vector) == 0 {
			return fmt.Errorf("embedded index: a vector of version %d has %d dimensions, the collection %d",
				d.No, len(c.Vector), m.vectors.Width())
		}
	}
	return nil
}

// remove forgets a version and returns its passages; nil for an unknown one.
func (m *memory) remove(no int64) []lexical.Key {
	n, ok := m.byNo[no]
	if !ok {
		return nil
	}
	s := &m.slots[n]
	delete(m.byNo, no)
	m.live.Remove(n)
	for _, p := range s.principals {
		if set := m.principals[p]; set != nil {
			if set.Remove(n); set.IsEmpty() {
				delete(m.principals, p)
			}
		}
	}
	m.columns.Remove(n, s.fields)
	m.stats.Passages -= int(s.count)
	m.stats.Terms -= s.terms
	return keysOf(*s)
}

func keysOf(s slot) []lexical.Key {
	keys := make([]lexical.Key, s.count)
	for i := range keys {
		keys[i] = lexical.Key{No: s.no, Chunk: uint32(i)}
	}
	return keys
}

// compactRows is how many rows are left behind at most before it matters.
const compactRows = 4096

// compacted returns m, or a copy of what is live when more is gone than that.
func (m *memory) compacted() *memory {
	gone := len(m.rowSlot) - m.stats.Passages
	if gone <= max(compactRows, m.stats.Passages) {
		return m
	}
	out := newMemory()
	if m.vectors != nil {
		out.vectors = vector.NewMatrix(m.vectors.Width())
	}
	for it := m.live.Iterator(); it.HasNext(); {
		s := m.slots[it.Next()]
		first := s.first
		s.first = uint32(len(out.rowSlot))
		for row := first; row < first+s.count; row++ {
			out.vectors.Append(m.vectors.Row(int(row)))
		}
		out.place(s)
	}
	return out
}

// allowed returns the slots that a caller with these principals may read and
// that pass the filter.
func (m *memory) allowed(principals []string, f filter.Node) *roaring.Bitmap {
	sets := make([]*roaring.Bitmap, 0, len(principals))
	for _, p := range principals {
		if set := m.principals[p]; set != nil {
			sets = append(sets, set)
		}
	}
	readable := roaring.FastOr(sets...)
	if f == nil {
		return readable
	}
	return m.columns.Select(f, readable)
}

// ranges returns the rows of the given slots, neighbours joined.
func (m *memory) ranges(slots *roaring.Bitmap) []vector.Range {
	count := int(slots.GetCardinality())
	if count == len(m.slots) {
		return []vector.Range{{First: 0, Count: uint32(len(m.rowSlot))}}
	}
	// Between two ranges there is a slot that is left out.
	out := make([]vector.Range, 0, min(count, len(m.slots)-count+1))
	for it := slots.Iterator(); it.HasNext(); {
		s := &m.slots[it.Next()]
		if n := len(out); n > 0 && out[n-1].First+out[n-1].Count == s.first {
			out[n-1].Count += s.count
			continue
		}
		out = append(out, vector.Range{First: s.first, Count: s.count})
	}
	return out
}

// row returns the row of a passage.
func (m *memory) row(k lexical.Key) (uint32, bool) {
	n, ok := m.byNo[k.No]
	if !ok || k.Chunk >= m.slots[n].count {
		return 0, false
	}
	return m.slots[n].first + k.Chunk, true
}

// chunkID returns the public id of a row.
func (m *memory) chunkID(row uint32) string {
	s := &m.slots[m.rowSlot[row]]
	return s.id + "#" + strconv.Itoa(int(row-s.first))
}
