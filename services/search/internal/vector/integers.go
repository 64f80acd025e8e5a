package vector

import (
	"encoding/binary"
	"math"
)

// integers are a query in whole numbers, laid out so that one multiplication of
// 64 bits does two of an int8 row's: for bytes u and v in the halves of a word,
// and numbers a and b of the query,
//
//	(u + v<<32) * (b + a<<32) = u*b + (u*a + v*b)<<32   (modulo 1<<64)
//
// and what is wanted stands in the upper half.
type integers struct {
	pairs []uint64 // 8 for 16 values, padded with zeros
	unit  float64  // what one is worth
	sums  []int64  // of the numbers, in runs of integerRun
}

const (
	// greatestInteger is the greatest of a query's numbers: their step is less
	// than a hundredth of a row's.
	greatestInteger = 1<<14 - 1
	// integerRun is how many values are summed up before a half could overflow:
	// 255*greatestInteger*integerRun < 1<<31.
	integerRun = 512
	// unsigned is added to a row's values, which the multiplication needs.
	unsigned = 128
)

func integersOf(query []float32) integers {
	largest := float32(0)
	for _, x := range query {
		largest = max(largest, x, -x)
	}
	q := integers{
		pairs: make([]uint64, (len(query)+15)/16*8),
		unit:  float64(largest) / greatestInteger,
		sums:  make([]int64, (len(query)+integerRun-1)/integerRun),
	}
	if !(largest > 0) || math.IsInf(float64(largest), 0) { // also what is no number
		q.unit = 0
		return q
	}
	for i, x := range query {
		n := int64(math.RoundToEven(float64(x) / q.unit))
		q.sums[i/integerRun] += n
		// Value 8k+j stands with 8k+j+4, whose product is in the upper half, too.
		pair := &q.pairs[i/8*4+i%4]
		if i%8 < 4 {
			*pair += uint64(n) << 32
		} else {
			*pair += uint64(n)
		}
	}
	return q
}

// dot returns the inner product with a row's bytes, of which there are a multiple
// of 4; what comes after its values is zero.
func (q *integers) dot(row []byte) float64 {
	total, pairs := int64(0), q.pairs
	for _, sum := range q.sums {
		n := min(integerRun, len(row))
		total += dotRun(pairs, row[:n]) - unsigned*sum
		row, pairs = row[n:], pairs[min(integerRun/2, len(pairs)):]
	}
	return float64(total) * q.unit
}

// dotRun returns the product with the bytes of a run, each with unsigned added.
func dotRun(pairs []uint64, row []byte) int64 {
	const (
		halves = 0x000000ff000000ff
		sign   = 0x8080808080808080 // adds unsigned to each byte
	)
	var s0, s1, s2, s3 uint64
	for len(row) >= 16 && len(pairs) >= 8 {
		r, p := (*[16]byte)(row), (*[8]uint64)(pairs)
		x := binary.LittleEndian.Uint64(r[:8]) ^ sign
		y := binary.LittleEndian.Uint64(r[8:]) ^ sign
		s0 += (x & halves) * p[0]
		s1 += (x >> 8 & halves) * p[1]
		s2 += (x >> 16 & halves) * p[2]
		s3 += (x >> 24 & halves) * p[3]
		s0 += (y & halves) * p[4]
		s1 += (y >> 8 & halves) * p[5]
		s2 += (y >> 16 & halves) * p[6]
		s3 += (y >> 24 & halves) * p[7]
		row, pairs = row[16:], pairs[8:]
	}
	s0 += s1 + s2 + s3
	if len(row) > 0 && len(pairs) >= 8 { // the last, with zeros after it
		var last [16]byte
		copy(last[:], row)
		return upper(s0) + dotRun(pairs, last[:])
	}
	return upper(s0)
}

// upper returns the signed upper half of a sum, from which the lower may have
// borrowed.
func upper(sum uint64) int64 { return (int64(sum) - int64(int32(uint32(sum)))) >> 32 }

// squaredInt8 returns the square of the distance from an int8 row.
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
