package routing

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// Whatever came before, a tenant that has no place gets one as long as there is any, one
// that is alone gets three quarters, and none has more than three times what was free.
func TestPlacesOfThoseThatWait(t *testing.T) {
	for _, places := range []int{1, 2, 3, 4, 16, 256} {
		r := New(Options{MaxWaiters: places})
		alone := 0
		for r.enter("alone") {
			alone++
		}
		if alone < max(places*3/4, 1) || places > 1 && alone == places {
			t.Errorf("of %d places whoever is alone gets %d", places, alone)
		}
		if others := r.enter("another"); others != (places > 1) {
			t.Errorf("of %d places another one gets one: %v", places, others)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		places := 1 + random.IntN(40)
		r, has, all := New(Options{MaxWaiters: places}), map[string]int{}, 0
		for range 500 {
			tenant := strconv.Itoa(random.IntN(6))
			if random.IntN(3) == 0 && has[tenant] > 0 {
				r.leave(tenant)
				has[tenant]--
				all--
				continue
			}
			got := r.enter(tenant)
			want := all < places && (has[tenant] == 0 || has[tenant]+1 <= 3*(places-all-1))
			if got != want {
				t.Fatalf("with %d of %d taken, %d by it: %v", all, places, has[tenant], got)
			}
			if got {
				has[tenant]++
				all++
			}
		}
		if r.Waiting() != int64(all) {
			t.Fatalf("%d wait, want %d", r.Waiting(), all)
		}
	}
}
