package vector

import "unsafe"

// survey is how far some rows' sketches are from a query's.
type survey struct {
	ranges    []Range
	words     []uint64 // room for the distances, four in each
	distances []uint16 // of the rows, in the ranges' order
	counts    []uint32 // how many rows are at each distance
	odd       []uint32 // of every second row, until they are added to counts
	batch     [compareBatch]uint32
	touched   byte
}

// survey returns one that was used before, or a new one.
func (m *Matrix) survey() *survey {
	if s, ok := m.surveys.Get().(*survey); ok {
		clear(s.counts)
		return s
	}
	return &survey{counts: make([]uint32, m.layout.Width+1), odd: make([]uint32, m.layout.Width+1)}
}

// room makes room for the distances of so many rows.
func (s *survey) room(rows int) {
	if words := (rows + lanes - 1) / lanes; cap(s.words) < words {
		s.words = make([]uint64, words)
	} else {
		s.words = s.words[:words]
	}
	s.distances = nil
	if rows > 0 {
		s.distances = unsafe.Slice((*uint16)(unsafe.Pointer(&s.words[0])), rows)
	}
}

// measure fills the survey.
func (s *survey) measure(k *sketches, bits []uint64, ranges []Range) {
	s.ranges = ranges
	s.room(rowsIn(ranges))
	left := s.distances
	for _, r := range ranges {
		for r.Count > 0 {
			n := min(r.Count, blockRows-r.First%blockRows)
			if len(bits) == 6 {
				hamming6(k.at(r.First, n), bits, left[:n])
			} else {
				hamming(k.at(r.First, n), bits, left[:n])
			}
			left = left[n:]
			r.First, r.Count = r.First+n, r.Count-n
		}
	}
	s.count()
}

// count counts the rows at each distance. Neighbours that are equally far are
// counted in two places, so that neither waits for the other.
func (s *survey) count() {
	clear(s.odd)
	i := 0
	for ; i+1 < len(s.distances); i += 2 {
		s.counts[s.distances[i]]++
		s.odd[s.distances[i+1]]++
	}
	if i < len(s.distances) {
		s.odd[s.distances[i]]++
	}
	for d, n := range s.odd {
		s.counts[d] += n
	}
}

const (
	// lanes is how many distances are in a word.
	lanes = 4
	// laneOnes has 1 in each, and laneTops the highest bit, which no distance has.
	laneOnes = 0x0001000100010001
	laneTops = 0x8000800080008000
)

// within calls yield for the rows whose sketches differ in from to to bits, some
// at a time. Four distances are looked at at once: that to+1 is taken from each,
// with its highest bit set before, leaves that bit where the distance is greater.
func (s *survey) within(from, to int, yield func(rows []uint32)) {
	bound := (uint64(to) + 1) * laneOnes
	next, end := 0, 0 // the next range, and where the one before ends
	batch := s.batch[:0]
	for w, word := range s.words {
		if ((word|laneTops)-bound)&laneTops == laneTops {
			continue
		}
		for i := w * lanes; i < min(w*lanes+lanes, len(s.distances)); i++ {
			if d := int(s.distances[i]); d < from || d > to {
				continue
			}
			for end <= i {
				end += int(s.ranges[next].Count)
				next++
			}
			last := s.ranges[next-1]
			batch = append(batch, last.First+last.Count-uint32(end-i))
			if len(batch) == len(s.batch) {
				yield(batch)
				batch = s.batch[:0]
			}
		}
	}
	yield(batch)
}
