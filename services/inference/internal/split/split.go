// Package split decides which arm of a traffic split a routing key falls into.
// The decision is a pure function of the salt, the key and the weights, so all
// replicas agree without talking to each other. It is specified, with test
// vectors, in docs/splits.md; start reading at Choose.
package split

import "math/bits"

// Total is what the weights of a split add up to: shares are in millionths.
const Total = 1_000_000

// Point returns where key lies in [0, Total): the first 8 bytes, big endian, of
// SHA-256(salt || 0x00 || key), reduced by multiply-high (Lemire, "Fast Random
// Integer Generation in an Interval", 2019), whose bias here is below 2^-44.
func Point(salt, key string) uint32 {
	hi, _ := bits.Mul64(first(salt, key), Total)
	return uint32(hi)
}

// Choose returns the index of the arm that point falls into: the arms take
// consecutive ranges of [0, Total) in order. It returns -1 when the weights add
// up to no more than point, which a split that adds up to Total never does.
func Choose(weights []uint32, point uint32) int {
	var end uint64
	for i, w := range weights {
		end += uint64(w)
		if uint64(point) < end {
			return i
		}
	}
	return -1
}
