package topk

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkOffer reports what it takes to find the best hundred of thousands, as a
// search does that asks before it offers.
func BenchmarkOffer(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	scores := make([]float64, 4000)
	for i := range scores {
		scores[i] = rng.Float64()
	}
	for b.Loop() {
		c := New(100, ByID(id))
		for i, s := range scores {
			if c.Wants(s) {
				c.Offer(Item{Key: uint32(i), Score: s})
			}
		}
		if len(c.Best()) != 100 {
			b.Fatal("not all were kept")
		}
	}
}
