package vector

import "math"

// question is a query as rows are compared with it.
type question struct {
	values  []float32
	integer integers // where rows are bytes, and their product is what counts
}

func (m *Matrix) question(query []float32) *question {
	q := &question{values: query}
	if m.layout.Encoding == Int8 && m.layout.Metric != L2 {
		q.integer = integersOf(query)
	}
	return q
}

// score returns how near a row is to the query.
func (m *Matrix) score(q *question, row int) float64 {
	k := &m.blocks[row/blockRows]
	if m.layout.Encoding == Int8 {
		values, scale := k.int8s(m.layout, row%blockRows)
		if m.layout.Metric == L2 {
			return -float64(squaredInt8(q.values, values, scale))
		}
		return q.integer.dot(k.row8(m.layout, row%blockRows)) * float64(scale)
	}
	if m.layout.Metric == L2 {
		return -float64(squared(q.values, k.float32s(m.layout, row%blockRows)))
	}
	return float64(Dot(q.values, k.float32s(m.layout, row%blockRows)))
}

// lengths are the least and the greatest length of the rows, squared.
type lengths struct{ least, greatest float64 }

// evenShare is how much longer than the shortest row the longest may be, both
// squared, for lengths to make no difference to what is nearest.
const evenShare = 1.03

func (l *lengths) add(squared float64, first bool) {
	if first {
		l.least, l.greatest = squared, squared
		return
	}
	l.least, l.greatest = min(l.least, squared), max(l.greatest, squared)
}

// even reports whether all rows are about as long.
func (l *lengths) even() bool { return l.greatest <= evenShare*l.least }

// scaled returns the query as long as the rows are, for its sketch: only its
// direction says which rows are nearest when these are alike in length.
func (m *Matrix) scaled(query []float32) []float32 {
	if m.layout.Metric == Cosine {
		return query
	}
	out := Normalized(query)
	length := float32(math.Sqrt((m.lengths.least + m.lengths.greatest) / 2))
	for i := range out {
		out[i] *= length
	}
	return out
}
