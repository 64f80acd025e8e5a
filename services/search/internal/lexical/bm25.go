package lexical

import "math"

// The parameters of BM25, as Lucene and Elasticsearch have them.
const (
	k1 = 1.2
	b  = 0.75
)

// Stats is what BM25 must know of the whole collection.
type Stats struct {
	// Passages is how many there are.
	Passages int
	// Terms is how many terms they have together.
	Terms int64
}

// idf returns the weight of a word that found passages have.
func (s Stats) idf(found uint64) float64 {
	n := min(float64(found), float64(s.Passages))
	return math.Log(1 + (float64(s.Passages)-n+0.5)/(n+0.5))
}

// model scores postings at one average length.
type model struct {
	base, slope float64
	// norms are those of the usual lengths.
	norms [usualLength]float64
}

const usualLength = 512

func (m *model) set(s Stats) {
	average := max(1, float64(s.Terms)/float64(s.Passages))
	base, slope := k1*(1-b), k1*b/average
	if m.base == base && m.slope == slope {
		return
	}
	m.base, m.slope = base, slope
	for i := range m.norms {
		m.norms[i] = m.compute(uint32(i))
	}
}

func (m *model) compute(length uint32) float64 { return m.base + float64(m.slope*float64(length)) }

// norm is what the frequency is measured against in a passage of that length.
func (m *model) norm(length uint32) float64 {
	if length < usualLength {
		return m.norms[length]
	}
	return m.compute(length)
}

// grid makes parts multiples of 2^-32 when it is added and subtracted: sums of
// them up to 2^20 are exact, so that a passage's score does not depend on the
// order in which its words were met, and bounds need no margin.
const (
	grid      = 3 << 19
	maxWeight = 1 << 18
)

// part is what a word of that weight adds to the score of a passage that has it
// freq times. It does not fall with freq, nor rise with norm.
func part(weight, freq, norm float64) float64 {
	return float64(float64(weight*freq)/(freq+norm)+grid) - grid
}
