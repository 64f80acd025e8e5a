package vector

// survey is how far some rows' sketches are from a query's.
type survey struct {
	ranges    []Range
	distances []uint16 // of the rows, in the ranges' order
	counts    []uint32 // how many rows are at each distance
}

// survey returns one that was used before, or a new one.
func (m *Matrix) survey() *survey {
	if s, ok := m.surveys.Get().(*survey); ok {
		clear(s.counts)
		return s
	}
	return &survey{counts: make([]uint32, m.layout.Width+1)}
}

// measure fills the survey.
func (s *survey) measure(k *sketches, bits []uint64, ranges []Range) {
	s.ranges = ranges
	total := 0
	for _, r := range ranges {
		total += int(r.Count)
	}
	if cap(s.distances) < total {
		s.distances = make([]uint16, total)
	}
	s.distances = s.distances[:total]
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
	for _, d := range s.distances {
		s.counts[d]++
	}
}
