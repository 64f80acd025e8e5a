package vector

import "math"

const (
	// sketchRows is how many rows a matrix has before they are sketched: a scan
	// of fewer is as fast without.
	sketchRows = 4096
	// sketchWidth is the least width that is sketched. Fewer bits tell too
	// little, and such rows are compared quickly.
	sketchWidth = 64
)

// sketches are rows in one bit a dimension: whether the row lies above the
// rows' mean there. How many bits differ grows with the angle between two rows
// as seen from the mean (Charikar, 2002: sign random projections).
type sketches struct {
	words int       // of a row
	sum   []float64 // of all rows that were ever added
	// squares is the sum of the rows' squared lengths; since, how many rows came
	// since the mean was looked at.
	squares float64
	since   int
	mean    []float32 // what the bits were taken from; empty before there are any
	blocks  [][]uint64
}

func newSketches(width int) sketches {
	if width < sketchWidth || width > math.MaxUint16 {
		return sketches{}
	}
	words := (width + 63) / 64
	return sketches{words: words + words%2, sum: make([]float64, width)}
}

// made reports whether there are sketches of all rows.
func (s *sketches) made() bool { return len(s.mean) > 0 }

// sketch follows a row that was added. Bits are taken from the mean as it was
// when sketches were last made; they are made anew when it has moved, which is
// looked at every blockRows rows. It takes rows in proportion to those there to
// move it, so that the work stays in proportion to the rows added.
func (m *Matrix) sketch(row []float32) {
	s := &m.sketches
	squares := 0.0
	for _, x := range row {
		squares += float64(x) * float64(x)
	}
	m.lengths.add(squares, m.counted == 0)
	m.counted++
	if s.words == 0 {
		return
	}
	s.squares += squares
	s.since++
	for i, x := range row {
		s.sum[i] += float64(x)
	}
	switch {
	case m.counted < sketchRows:
	case !s.made(), s.since >= blockRows && s.drifted(m.counted):
		m.sketchAll()
	default:
		s.add(m.rows-1, row)
	}
}

// sketchAll makes all sketches anew, from the mean as it is.
func (m *Matrix) sketchAll() {
	m.sketches.center(m.counted)
	for i := range m.blocks {
		k := &m.blocks[i]
		for row := range k.rows(m.layout) {
			if at := i*blockRows + row; at < m.rows {
				m.sketches.add(at, m.Row(at))
			}
		}
	}
}

// driftShare is how far the mean may move before sketches are made anew, as a
// share of the rows' variance around it (squared lengths). At a hundredth a bit
// still parts the rows 46 to 54.
const driftShare = 0.01

func (s *sketches) drifted(rows int) bool {
	s.since = 0
	moved, length := 0.0, 0.0
	for i, sum := range s.sum {
		mean := sum / float64(rows)
		d := mean - float64(s.mean[i])
		moved += d * d
		length += mean * mean
	}
	return moved > driftShare*(s.squares/float64(rows)-length)
}

// center takes the mean of the rows and forgets the sketches.
func (s *sketches) center(rows int) {
	s.since = 0
	s.mean = make([]float32, len(s.sum))
	for i, sum := range s.sum {
		s.mean[i] = float32(sum / float64(rows))
	}
	s.blocks = nil
}

// add sketches row i.
func (s *sketches) add(i int, row []float32) { s.fill(s.room(i), row) }

// room returns where the sketch of row i is written.
func (s *sketches) room(i int) []uint64 {
	for len(s.blocks) <= i/blockRows {
		s.blocks = append(s.blocks, nil)
	}
	block := &s.blocks[i/blockRows]
	if *block == nil {
		*block = make([]uint64, blockRows*s.words)
	}
	at := i % blockRows * s.words
	return (*block)[at : at+s.words]
}

// put has the sketches of whole blocks.
func (s *sketches) put(block int, made [][]uint64) {
	for len(s.blocks) < block {
		s.blocks = append(s.blocks, nil)
	}
	s.blocks = append(s.blocks[:block], made...)
}

// drop forgets the sketches of a block.
func (s *sketches) drop(block int) {
	if block < len(s.blocks) {
		s.blocks[block] = nil
	}
}

// fill writes the bits of v. The sign of a difference is its highest bit, which
// is moved without asking: a branch would be guessed wrong half the time.
func (s *sketches) fill(bits []uint64, v []float32) {
	clear(bits)
	mean := s.mean[:len(v)]
	for i, x := range v {
		bits[i/64] |= uint64(math.Float32bits(mean[i]-x)>>31) << (i % 64)
	}
}

// of returns the sketch of v.
func (s *sketches) of(v []float32) []uint64 {
	bits := make([]uint64, s.words)
	s.fill(bits, v)
	return bits
}

// at returns the sketches of count rows from first on, which lie in one block.
func (s *sketches) at(first, count uint32) []uint64 {
	at := int(first%blockRows) * s.words
	return s.blocks[first/blockRows][at : at+int(count)*s.words]
}
