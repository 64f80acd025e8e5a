package topk

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func id(key uint32) string { return fmt.Sprintf("%04d", 9999-key) }

func TestCollectorKeepsTheBestWithTiesByID(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for limit := range 40 {
		var all []Item
		c := New(limit, ByID(id))
		for key := range uint32(300) {
			it := Item{Key: key, Score: float64(rng.IntN(6))}
			all = append(all, it)
			if c.Wants(it.Score) {
				c.Offer(it)
			}
		}
		slices.SortFunc(all, func(a, b Item) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Key, a.Key))
		})
		if got := c.Best(); !slices.Equal(got, all[:limit]) {
			t.Fatalf("limit %d: got %v, want %v", limit, got, all[:limit])
		}
	}
}
