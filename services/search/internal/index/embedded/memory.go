package embedded

import (
	"strconv"
	"strings"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/lexical"
	"github.com/poterne/poterne/services/search/internal/vector"
	"github.com/poterne/poterne/services/search/internal/vector/segment"
)

// slot is one version of a document in memory. Its chunks are rows that lie
// together, in order.
type slot struct {
	no     int64
	record place
	first  uint32
	count  uint32
	terms  uint32
	// For orders; in nanoseconds since 1970.
	created, updated int64
}

// memory is what is known of a collection's documents apart from their words.
// Slots are only added; those of documents that are gone stay behind until
// compacted leaves them out. Rows are added, and move when segments are merged.
type memory struct {
	slots   []slot
	records records
	reading record // room for one, the writers'
	byNo    map[int64]uint32
	rowSlot []uint32 // which slot a row belongs to, or vector.NoRow
	vectors *vector.Matrix

	// layout is another whenever rows get other numbers.
	layout *layout

	// parts are the segments' rows, by their first; the tail begins after them.
	parts []part
	tail  uint32

	// allLive are the live slots' rows in order, once they were asked for; nil
	// before. Under ranging, because those who search ask.
	ranging sync.Mutex
	allLive []vector.Range

	live       *roaring.Bitmap            // slots that are not gone
	principals map[string]*roaring.Bitmap // slots that name the principal
	columns    *filter.Columns

	stats lexical.Stats
}

// layout stands for the numbers that rows have.
type layout struct{ _ byte }

func newMemory() *memory {
	return &memory{
		layout:     new(layout),
		byNo:       make(map[int64]uint32),
		live:       roaring.New(),
		principals: make(map[string]*roaring.Bitmap),
		columns:    filter.NewColumns(),
	}
}

// add adds a version that is not there, and whose rows begin at first.
func (m *memory) add(d index.Document, k segment.Key, first uint32) {
	m.place(slot{
		no: d.No, first: first, count: k.Count, terms: k.Terms,
		created: d.CreateTime.UnixNano(), updated: d.UpdateTime.UnixNano(),
	}, record{id: d.ID, title: d.Title, principals: d.Principals, fields: d.Fields})
}

// copy adds what another memory has in a slot, whose rows begin at first.
func (m *memory) copy(from *memory, s slot, first uint32) {
	from.reading = from.records.read(s.record, from.reading)
	s.first = first
	m.place(s, from.reading)
}

// place notes a slot whose vectors are there.
func (m *memory) place(s slot, d record) {
	n := uint32(len(m.slots))
	s.record = m.records.add(d)
	// What is kept of it below are the record's bytes: no text is kept twice, and
	// none that is a part of something larger.
	m.reading = m.records.read(s.record, m.reading)
	d = m.reading
	m.slots = append(m.slots, s)
	m.byNo[s.no] = n
	m.own(s.first, s.count, n)
	m.live.Add(n)
	for _, p := range d.principals {
		set := m.principals[p]
		if set == nil {
			set = roaring.New()
			m.principals[p] = set
		}
		set.Add(n)
	}
	m.columns.Add(n, d.fields)
	m.stats.Passages += int(s.count)
	m.stats.Terms += int64(s.terms)
	m.count(s, int(s.count))
}

// own notes which slot rows belong to.
func (m *memory) own(first, count, slot uint32) {
	for uint32(len(m.rowSlot)) < first+count {
		m.rowSlot = append(m.rowSlot, vector.NoRow)
	}
	for row := first; row < first+count; row++ {
		m.rowSlot[row] = slot
	}
}

// count adds to the live rows, and to those of the slot's part: a slot is there
// or gone from now on.
func (m *memory) count(s slot, rows int) {
	if s.count == 0 {
		return
	}
	switch {
	case m.allLive == nil:
	case rows < 0:
		m.allLive = cut(m.allLive, s.first, s.count)
	default: // rows are added at the end
		m.allLive = joined(m.allLive, s.first, s.count)
	}
	if p := m.partOf(s.first); p != nil {
		p.live += rows
	}
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
	m.reading = m.records.read(s.record, m.reading)
	for _, p := range m.reading.principals {
		if set := m.principals[p]; set != nil {
			if set.Remove(n); set.IsEmpty() {
				delete(m.principals, p)
			}
		}
	}
	m.columns.Remove(n, m.reading.fields)
	m.stats.Passages -= int(s.count)
	m.stats.Terms -= int64(s.terms)
	m.count(*s, -int(s.count))
	return keysOf(*s)
}

func keysOf(s slot) []lexical.Key {
	keys := make([]lexical.Key, s.count)
	for i := range keys {
		keys[i] = lexical.Key{No: s.no, Chunk: uint32(i)}
	}
	return keys
}

// compactRows is how many rows and slots are left behind at most before it
// matters.
const compactRows = 4096

// compacted returns m, or a copy of what is live when more is gone than that, and
// where m's rows are in it; false for one that is gone. The two have their rows in
// common.
func (m *memory) compacted() (_ *memory, at func(row uint32) (uint32, bool)) {
	gone := len(m.slots) - int(m.live.GetCardinality())
	most := max(compactRows, int(m.live.GetCardinality()))
	if m.vectors == nil || gone <= most && m.vectors.Dropped() <= max(compactRows, m.stats.Passages) {
		return m, nil
	}
	out := newMemory()
	vectors, moved := m.vectors.Compact()
	out.vectors = vectors
	at = func(row uint32) (uint32, bool) {
		i := row / vector.BlockRows
		if int(i) >= len(moved) {
			return uint32(vectors.Rows()), true // of a tail that is empty
		}
		return moved[i] + row%vector.BlockRows, moved[i] != vector.NoRow
	}
	for _, p := range m.parts {
		first, _ := at(p.first) // segments that are there have their blocks
		out.parts = append(out.parts, part{segment: p.segment, first: first})
	}
	out.tail, _ = at(m.tail)
	for it := m.live.Iterator(); it.HasNext(); {
		s := m.slots[it.Next()]
		first := s.first
		if s.count > 0 {
			first, _ = at(first)
		}
		out.copy(m, s, first)
	}
	out.allLive = out.liveRanges(stays)
	return out, at
}

// stays is the way of rows that keep their numbers.
func stays(row uint32) (uint32, bool) { return row, true }

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

// row returns the row of a passage.
func (m *memory) row(k lexical.Key) (uint32, bool) {
	n, ok := m.byNo[k.No]
	if !ok || k.Chunk >= m.slots[n].count {
		return 0, false
	}
	return m.slots[n].first + k.Chunk, true
}

// byID compares the public ids of two rows, mostly without writing them down.
func (m *memory) byID(a, b uint32) int {
	x, y := m.id(m.rowSlot[a]), m.id(m.rowSlot[b])
	if n := min(len(x), len(y)); x[:n] != y[:n] {
		return strings.Compare(x, y)
	}
	return strings.Compare(m.chunkID(a), m.chunkID(b))
}

// chunkID returns the public id of a row.
func (m *memory) chunkID(row uint32) string {
	n := m.rowSlot[row]
	return m.id(n) + "#" + strconv.Itoa(int(row-m.slots[n].first))
}

// id returns the id of a slot's document.
func (m *memory) id(slot uint32) string { return m.records.id(m.slots[slot].record) }
