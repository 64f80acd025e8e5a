package sticky_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/sticky"
)

// spread gives each key to its home in turn; none ends. It checks the bound at each.
func spread(t *testing.T, keys []uint64, targets []sticky.Target, balance float64) []uint64 {
	t.Helper()
	targets = append([]sticky.Target(nil), targets...)
	capacity := int64(0)
	for i := range targets {
		capacity += targets[i].Capacity
	}
	homes := make([]uint64, len(keys))
	for n, key := range keys {
		i := sticky.Home(key, len(targets), func(i int) sticky.Target { return targets[i] }, balance)
		if i < 0 {
			t.Fatal("all are above the mean")
		}
		targets[i].Load++
		homes[n] = targets[i].Hash
		bound := math.Ceil(balance * float64(n+1) * float64(targets[i].Capacity) / float64(capacity))
		if float64(targets[i].Load) > bound {
			t.Fatalf("a target of %d of %d has %d of %d, at most %v", targets[i].Capacity, capacity, targets[i].Load, n+1, bound)
		}
	}
	return homes
}

func some(r *rand.Rand, n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = r.Uint64()
	}
	return out
}

// No target has more than its part, times the balance, rounded up: at no moment, with
// whatever keys, targets of whatever sizes, and requests that end in any order.
func TestNoTargetIsAboveTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		balance := 1.01 + r.Float64()*2
		targets, capacity, load := make([]sticky.Target, 1+r.IntN(40)), int64(0), int64(0)
		for i := range targets {
			targets[i] = sticky.Target{Hash: r.Uint64(), Capacity: 1 + r.Int64N(64)}
			capacity += targets[i].Capacity
		}
		popular := some(r, 1+r.IntN(5)) // keys are not alike: some are asked for all the time
		var inHand []int
		for range 500 {
			if len(inHand) > 0 && r.IntN(3) == 0 {
				n := r.IntN(len(inHand))
				targets[inHand[n]].Load--
				load--
				inHand = append(inHand[:n], inHand[n+1:]...)
				continue
			}
			key := r.Uint64()
			if r.IntN(2) == 0 {
				key = popular[r.IntN(len(popular))]
			}
			i := sticky.Home(key, len(targets), func(i int) sticky.Target { return targets[i] }, balance)
			if i < 0 {
				t.Fatalf("of %d targets none is below %v of the mean", len(targets), balance)
			}
			targets[i].Load++
			load++
			inHand = append(inHand, i)
			if most := math.Ceil(balance * float64(load) * float64(targets[i].Capacity) / float64(capacity)); float64(targets[i].Load) > most {
				t.Fatalf("it has %d of %d, at most %v", targets[i].Load, load, most)
			}
		}
	}
}

// When a target joins or leaves, few keys have another home than those that it takes or
// had. A key modulo the number of targets would move nearly all of them.
func TestFewKeysMove(t *testing.T) {
	const targets, keys, rounds = 20, 2000, 20
	r := rand.New(rand.NewPCG(3, 4))
	var moved, own float64
	for range rounds {
		all := make([]sticky.Target, targets)
		for i := range all {
			all[i] = sticky.Target{Hash: r.Uint64(), Capacity: 8}
		}
		asked := some(r, keys)
		with, without := spread(t, asked, all, sticky.DefaultBalance), spread(t, asked, all[1:], sticky.DefaultBalance)
		for i := range asked {
			switch {
			case with[i] == all[0].Hash:
				own++
			case with[i] != without[i]:
				moved++
			}
		}
	}
	n := float64(keys * rounds)
	t.Logf("%.1f %% were the target's own, %.1f %% of the others moved", 100*own/n, 100*moved/n)
	if own/n > sticky.DefaultBalance/targets {
		t.Errorf("%.1f %% were of one of %d targets", 100*own/n, targets)
	}
	if moved/n > 0.05 {
		t.Errorf("%.1f %% of the keys moved though their home was neither gone nor new", 100*moved/n)
	}
}

// While no target is at its bound, a key's home depends on nothing but the targets, and
// only the keys of the one that leaves have another.
func TestAKeyHasOneHome(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	targets := make([]sticky.Target, 12)
	for i := range targets {
		targets[i] = sticky.Target{Hash: r.Uint64(), Load: 50, Capacity: 8}
	}
	at := func(i int) sticky.Target { return targets[i] }
	for _, key := range some(r, 500) {
		first := targets[sticky.Home(key, len(targets), at, sticky.DefaultBalance)].Hash
		r.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		again := sticky.Home(key, len(targets), at, sticky.DefaultBalance)
		if targets[again].Hash != first {
			t.Fatal("the order in which the targets are known decides")
		}
		gone := (again + 1) % len(targets)
		targets[gone].Away = true
		if i := sticky.Home(key, len(targets), at, sticky.DefaultBalance); targets[i].Hash != first {
			t.Fatal("a key moved whose home is there")
		}
		targets[gone].Away = false
	}
	for i := range targets {
		targets[i].Away = true
	}
	if i := sticky.Home(1, len(targets), at, sticky.DefaultBalance); i != -1 {
		t.Errorf("%d, although all are away", i)
	}
}
