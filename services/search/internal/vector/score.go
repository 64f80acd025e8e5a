package vector

import (
	"math"

	"github.com/viterin/vek/vek32"
	"golang.org/x/sys/cpu"
)

// score returns how near a row is to the query.
func (m *Matrix) score(query []float32, row int) float64 {
	k := &m.blocks[row/blockRows]
	if m.layout.Encoding == Int8 {
		values, scale := k.int8s(m.layout, row%blockRows)
		if m.layout.Metric == L2 {
			return -float64(squaredInt8(query, values, scale))
		}
		return float64(dotInt8(query, values) * scale)
	}
	if m.layout.Metric == L2 {
		return -float64(squared(query, k.float32s(m.layout, row%blockRows)))
	}
	return float64(Dot(query, k.float32s(m.layout, row%blockRows)))
}

// Dot returns the inner product of two vectors of one length, by the processor's
// vectors where vek has code for them. Elsewhere four sums run side by side, which
// keeps the processor from waiting for each addition.
func Dot(a, b []float32) float32 {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && len(a) > 0 {
		return vek32.Dot(a, b)
	}
	var s0, s1, s2, s3 float32
	n := len(a)
	b = b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		x, y := a[i:i+8:i+8], b[i:i+8:i+8]
		s0 += x[0]*y[0] + x[4]*y[4]
		s1 += x[1]*y[1] + x[5]*y[5]
		s2 += x[2]*y[2] + x[6]*y[6]
		s3 += x[3]*y[3] + x[7]*y[7]
	}
	for ; i < n; i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// squared returns the square of the distance of two vectors of one length.
func squared(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	n := len(a)
	b = b[:n]
	i := 0
	for ; i+4 <= n; i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		d0, d1, d2, d3 := x[0]-y[0], x[1]-y[1], x[2]-y[2], x[3]-y[3]
		s0, s1, s2, s3 = s0+d0*d0, s1+d1*d1, s2+d2*d2, s3+d3*d3
	}
	for ; i < n; i++ {
		d := a[i] - b[i]
		s0 += d * d
	}
	return (s0 + s1) + (s2 + s3)
}

func dotInt8(a []float32, b []int8) float32 {
	var s0, s1, s2, s3 float32
	n := len(a)
	b = b[:n]
	i := 0
	for ; i+4 <= n; i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * float32(y[0])
		s1 += x[1] * float32(y[1])
		s2 += x[2] * float32(y[2])
		s3 += x[3] * float32(y[3])
	}
	for ; i < n; i++ {
		s0 += a[i] * float32(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

func squaredInt8(a []float32, b []int8, scale float32) float32 {
	var s0, s1 float32
	b = b[:len(a)]
	for i, x := range a {
		d := x - scale*float32(b[i])
		if i%2 == 0 {
			s0 += d * d
		} else {
			s1 += d * d
		}
	}
	return s0 + s1
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
