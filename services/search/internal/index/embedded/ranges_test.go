package embedded

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// Ranges that are kept while versions come and go are those of what is there.
func TestLiveRangesFollowWhatComesAndGoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 41))
	var ranges []vector.Range
	there := map[uint32]uint32{} // versions, by their first row
	next := uint32(0)
	for range 2000 {
		if rng.IntN(3) > 0 || len(there) == 0 {
			next += rng.Uint32N(2) * rng.Uint32N(3) // rows that lie apart now and then
			n := 1 + rng.Uint32N(4)
			ranges, there[next] = joined(ranges, next, n), n
			next += n
		} else {
			for first, n := range there {
				ranges = cut(ranges, first, n)
				delete(there, first)
				break
			}
		}
		var got, want []uint32
		for _, r := range ranges {
			if r.Count == 0 {
				t.Fatalf("an empty range in %v", ranges)
			}
			for i := range r.Count {
				got = append(got, r.First+i)
			}
		}
		for first, n := range there {
			for i := range n {
				want = append(want, first+i)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("ranges %v, want the rows %v", ranges, want)
		}
	}
}
