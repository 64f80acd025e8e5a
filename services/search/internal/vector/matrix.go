// Package vector keeps vectors in blocks, in memory or mapped from files, and
// finds those nearest to a query: few rows by comparing them all, many by
// comparing sketches of one bit a dimension first. It knows rows, not
// documents; start reading at Matrix and Nearest.
package vector

import (
	"math"
	"sync"
)

// BlockRows is how many rows lie together. A matrix grows by blocks, so that
// growing copies nothing, and what is in files is attached block by block.
const BlockRows = 1024

// NoRow is the number of no row.
const NoRow = math.MaxUint32

// blockRows is BlockRows, for arithmetic that is read often.
const blockRows = BlockRows

// Matrix is rows of one layout. Rows are only added, and whole blocks taken
// away. It is safe for concurrent readers as long as nobody changes it.
type Matrix struct {
	layout   Layout
	rows     int // the next row's number
	counted  int // rows that were ever added, without what lies between blocks
	blocks   []Block
	dropped  int // blocks
	sketches sketches
	lengths  lengths
	row      []byte    // room for one that is added
	surveys  sync.Pool // of *survey, which searches use again
}

// New returns a matrix without rows.
func New(l Layout) *Matrix {
	return &Matrix{layout: l, sketches: newSketches(l.Width)}
}

// Width returns the length of a row.
func (m *Matrix) Width() int { return m.layout.Width }

// Layout returns how rows are kept.
func (m *Matrix) Layout() Layout { return m.layout }

// Rows returns the number that the next row gets. Fewer may be there: see
// Attach and Drop.
func (m *Matrix) Rows() int { return m.rows }

// Append adds a row, which must have the matrix's width. The vector is copied.
// For the cosine it is scaled to length 1; one without a direction stays zero,
// and has cosine 0 with everything.
func (m *Matrix) Append(v []float32) {
	m.row = m.layout.Encode(m.row[:0], v)
	m.AppendEncoded(m.row)
}

// AppendEncoded adds a row as Layout.Encode made it.
func (m *Matrix) AppendEncoded(row []byte) {
	if m.rows%blockRows == 0 {
		m.blocks = append(m.blocks, Block{})
	}
	m.blocks[len(m.blocks)-1].add(m.layout, row)
	m.rows++
	m.sketch(m.Row(m.rows - 1))
}

// Attach adds the rows of blocks, all of which but the last are full, and
// returns the number of the first. They begin at a block of their own, and so
// does what is added next: between them there may be numbers without rows, which
// nobody may ask for.
func (m *Matrix) Attach(blocks []Block) (first int) {
	m.Align()
	first = m.rows
	for _, k := range blocks {
		m.blocks = append(m.blocks, k)
		for range k.rows(m.layout) {
			m.rows++
			m.sketch(m.Row(m.rows - 1))
		}
	}
	m.Align()
	return first
}

// Moved is what is prepared for rows that are about to lie elsewhere, too.
type Moved struct {
	// First is the number that the first of them will have.
	First    int
	sketches [][]uint64
}

// Moving prepares AttachMoved for rows that are there already: from are their
// numbers, in order, or NoRow for one that nobody will ask for. It only reads, and
// holds as long as the matrix does not change.
func (m *Matrix) Moving(from []uint32) Moved {
	out := Moved{First: len(m.blocks) * blockRows}
	if !m.sketches.made() {
		return out
	}
	rows := sketches{words: m.sketches.words}
	for i, old := range from {
		if old != NoRow {
			copy(rows.room(i), m.sketches.at(old, 1))
		}
	}
	out.sketches = rows.blocks
	return out
}

// AttachMoved is Attach for rows that Moving was told of.
func (m *Matrix) AttachMoved(blocks []Block, rows Moved) {
	m.Align()
	m.blocks = append(m.blocks, blocks...)
	m.Align()
	if m.sketches.made() {
		m.sketches.put(rows.First/blockRows, rows.sketches)
	}
}

// Blocks returns how many blocks there are, dropped ones included.
func (m *Matrix) Blocks() int { return len(m.blocks) }

// Align has the next row begin a block.
func (m *Matrix) Align() { m.rows = len(m.blocks) * blockRows }

// Exchange puts blocks with the same rows in the place of those from row first
// on, which begins a block and lies in the last ones; see Attach for what is
// added next.
func (m *Matrix) Exchange(first int, blocks []Block) {
	copy(m.blocks[first/blockRows:], blocks)
	m.Align()
}

// Drop takes away the blocks of rows first to first+rows: nobody may ask for
// these rows any more.
func (m *Matrix) Drop(first, rows int) {
	for i := first / blockRows; i*blockRows < first+rows; i++ {
		m.blocks[i] = Block{}
		m.sketches.drop(i)
		m.dropped++
	}
}

// Dropped returns how many numbers are taken by blocks that were dropped.
func (m *Matrix) Dropped() int { return m.dropped * blockRows }

// Compact returns the matrix without the blocks that were dropped, and where
// its rows are: row r is moved[r/BlockRows] + r%BlockRows then, if that is not
// NoRow. The two have their rows in common; m must not be changed any more.
func (m *Matrix) Compact() (out *Matrix, moved []uint32) {
	out = &Matrix{
		layout: m.layout, counted: m.counted, sketches: m.sketches, lengths: m.lengths,
	}
	out.sketches.blocks = nil
	moved = make([]uint32, len(m.blocks))
	for i := range m.blocks {
		moved[i] = uint32(len(out.blocks) * blockRows)
		if m.blocks[i].rows(m.layout) == 0 {
			moved[i] = NoRow
			continue
		}
		out.blocks = append(out.blocks, m.blocks[i])
		if i < len(m.sketches.blocks) {
			out.sketches.blocks = append(out.sketches.blocks, m.sketches.blocks[i])
		}
	}
	out.rows = len(out.blocks) * blockRows
	if n := len(m.blocks); n > 0 && m.rows < n*blockRows && m.blocks[n-1].rows(m.layout) > 0 {
		out.rows -= n*blockRows - m.rows
	}
	return out, moved
}

// Row returns a row, which must not be changed or kept: what it points to may
// be unmapped once the matrix changes.
func (m *Matrix) Row(i int) []float32 {
	k := &m.blocks[i/blockRows]
	if m.layout.Encoding != Int8 {
		return k.float32s(m.layout, i%blockRows)
	}
	values, scale := k.int8s(m.layout, i%blockRows)
	out := make([]float32, len(values))
	for j, x := range values {
		out[j] = float32(x) * scale
	}
	return out
}

// Normalized returns a copy of v scaled to length 1, or zeros when it has no
// direction.
func Normalized(v []float32) []float32 {
	out := append([]float32(nil), v...)
	normalize(out)
	return out
}

func normalize(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 || math.IsInf(sum, 0) || math.IsNaN(sum) {
		clear(v)
		return
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= scale
	}
}
