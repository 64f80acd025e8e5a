package vector

import "math/bits"

// hamming writes how many bits of each row differ from the query's. Rows lie
// one after another and have as many words as the query: an even number, so
// that two counts run side by side.
func hamming(rows, query []uint64, out []uint16) {
	words := len(query)
	for i := range out {
		row := rows[:words]
		rows = rows[words:]
		var a, b int
		for j := 1; j < len(row) && j < len(query); j += 2 {
			a += bits.OnesCount64(row[j-1] ^ query[j-1])
			b += bits.OnesCount64(row[j] ^ query[j])
		}
		out[i] = uint16(a + b) //nolint:gosec // i is of out
	}
}

// hamming6 is hamming for 384 dimensions, the width of small embedding models.
func hamming6(rows, query []uint64, out []uint16) {
	q := [6]uint64(query)
	for i := range out {
		row := (*[6]uint64)(rows)
		rows = rows[6:]
		a := bits.OnesCount64(row[0]^q[0]) + bits.OnesCount64(row[1]^q[1])
		b := bits.OnesCount64(row[2]^q[2]) + bits.OnesCount64(row[3]^q[3])
		c := bits.OnesCount64(row[4]^q[4]) + bits.OnesCount64(row[5]^q[5])
		out[i] = uint16(a + b + c)
	}
}
