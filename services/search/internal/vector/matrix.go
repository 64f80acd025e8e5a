// Package vector keeps vectors in memory and finds those nearest to a query:
// few rows by comparing them all, many by comparing sketches of one bit a
// dimension first. It knows rows, not documents; start reading at Matrix and
// Nearest.
package vector

import (
	"math"
	"sync"
)

// blockRows is how many rows lie together. A matrix grows by blocks, so that
// growing copies nothing.
const blockRows = 1024

// Matrix is rows of one width, each scaled to length 1. Rows are only added.
// It is safe for concurrent readers as long as nobody adds.
type Matrix struct {
	width    int
	rows     int
	blocks   [][]float32
	sketches sketches
	surveys  sync.Pool // of *survey, which searches use again
}

// NewMatrix returns a matrix without rows.
func NewMatrix(width int) *Matrix {
	return &Matrix{width: width, sketches: newSketches(width)}
}

// Width returns the length of a row.
func (m *Matrix) Width() int { return m.width }

// Rows returns how many rows there are.
func (m *Matrix) Rows() int { return m.rows }

// Append adds a row, which must have the matrix's width. The vector is copied;
// one without a direction stays zero, and has cosine 0 with everything.
func (m *Matrix) Append(v []float32) {
	if m.rows%blockRows == 0 {
		m.blocks = append(m.blocks, make([]float32, 0, blockRows*m.width))
	}
	last := len(m.blocks) - 1
	start := len(m.blocks[last])
	m.blocks[last] = append(m.blocks[last], v[:m.width]...)
	row := m.blocks[last][start:]
	normalize(row)
	m.rows++
	m.sketch(row)
}

// Row returns a row, which must not be changed.
func (m *Matrix) Row(i int) []float32 {
	at := i % blockRows * m.width
	return m.blocks[i/blockRows][at : at+m.width : at+m.width]
}

// Normalized returns a copy of v scaled to length 1.
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

// Dot returns the inner product of two vectors of one length. Four sums run
// side by side, which keeps the processor from waiting for each addition.
func Dot(a, b []float32) float32 {
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
