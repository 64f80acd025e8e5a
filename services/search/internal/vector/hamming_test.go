package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func randomWords(rng *rand.Rand, n int) []uint64 {
	w := make([]uint64, n)
	for i := range w {
		w[i] = rng.Uint64()
	}
	return w
}

func TestHammingCountsBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const rows = 50
	for _, words := range []int{2, 4, 6, 12, 16, 18} {
		all, query := randomWords(rng, rows*words), randomWords(rng, words)
		want := make([]uint16, rows)
		for i := range want {
			for bit := range 64 * words {
				a, b := all[i*words+bit/64]>>(bit%64), query[bit/64]>>(bit%64)
				want[i] += uint16((a ^ b) & 1)
			}
		}
		got, six := make([]uint16, rows), make([]uint16, rows)
		hamming(all, query, got)
		if words == 6 {
			hamming6(all, query, six)
		} else {
			copy(six, got)
		}
		for i := range want {
			if got[i] != want[i] || six[i] != want[i] {
				t.Errorf("%d words: row %d differs in %d or %d bits, want %d", words, i, got[i], six[i], want[i])
			}
		}
	}
}

func BenchmarkHamming100k(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]uint16, 100_000)
	for _, tc := range []struct {
		name  string
		words int
		fn    func(rows, query []uint64, out []uint16)
	}{
		{"any", 6, hamming},
		{"six", 6, hamming6},
		{"any", 12, hamming},
		{"any", 16, hamming},
	} {
		rows, query := randomWords(rng, tc.words*len(out)), randomWords(rng, tc.words)
		b.Run(fmt.Sprintf("%d words/%s", tc.words, tc.name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tc.fn(rows, query, out)
			}
		})
	}
}
