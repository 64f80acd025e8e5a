package allocation_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// check fails the test where a point has no owner or two, or where pieces that are
// one are two.
func check(t *testing.T, ranges []allocation.Range) {
	t.Helper()
	var at int32
	for i, r := range ranges {
		if r.Start != at || r.End <= r.Start {
			t.Fatalf("range %d of %v does not go on where the one before ends", i, ranges)
		}
		if i > 0 && ranges[i-1].Owner == r.Owner {
			t.Fatalf("ranges %d and %d of %v are one", i-1, i, ranges)
		}
		at = r.End
	}
	if at != allocation.Whole {
		t.Fatalf("%v covers %d points", ranges, at)
	}
}

// flow is how many points went from one owner to another, or stayed with one.
type flow map[[2]int]int32

func flows(before, after []allocation.Range) flow {
	out := flow{}
	for _, b := range before {
		for _, a := range after {
			if start, end := max(a.Start, b.Start), min(a.End, b.End); start < end {
				out[[2]int{b.Owner, a.Owner}] += end - start
			}
		}
	}
	return out
}

// shares draws shares of n owners that add up to the whole, some of them 0.
func shares(random *rand.Rand, n int) []int32 {
	cuts := []int32{0, allocation.Whole}
	for range n - 1 {
		cut := random.Int32N(allocation.Whole + 1)
		if random.IntN(4) == 0 {
			cut = cuts[random.IntN(len(cuts))]
		}
		cuts = append(cuts, cut)
	}
	slices.Sort(cuts)
	out := make([]int32, n)
	for i := range out {
		out[i] = cuts[i+1] - cuts[i]
	}
	random.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Whatever the shares were and become: everybody has their share, points only go
// from those who get less to those who get more, and no more of them than must.
func TestMovesOnlyWhatMust(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		n := 2 + random.IntN(6)
		had := shares(random, n)
		before := allocation.New(had)
		for step := range 10 {
			want := shares(random, n)
			if random.IntN(2) == 0 { // as a ramp does it: the control gives to one arm
				want = slices.Clone(had)
				up, by := 1+random.IntN(n-1), random.Int32N(had[0]+1)
				want[0], want[up] = want[0]-by, want[up]+by
			}
			after := allocation.Move(before, want)
			check(t, after)
			counts, moved, must := make([]int32, n), int32(0), int32(0)
			for pair, points := range flows(before, after) {
				from, to := pair[0], pair[1]
				counts[to] += points
				if from == to {
					continue
				}
				moved += points
				if want[from] >= had[from] || want[to] <= had[to] {
					t.Fatalf("seed %d, step %d: from %v to %v, %d points went from %d to %d", seed, step, had, want, points, from, to)
				}
			}
			for i := range want {
				must += max(0, had[i]-want[i])
			}
			if !slices.Equal(counts, want) || moved != must {
				t.Fatalf("seed %d, step %d: from %v to %v: %v, and %d points moved; must %d", seed, step, had, want, counts, moved, must)
			}
			had, before = want, after
		}
	}
}

// Two arms that are ramped up, down and up again: whoever met the new arm at a
// weight meets it at every higher one, and the pieces stay two.
func TestRampOfTwoArms(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	ranges := allocation.New([]int32{allocation.Whole - 10_000, 10_000})
	seen := map[int32][]allocation.Range{}
	for range 200 {
		weight := 10_000 * (1 + random.Int32N(99))
		ranges = allocation.Move(ranges, []int32{allocation.Whole - weight, weight})
		check(t, ranges)
		if len(ranges) > 2 {
			t.Fatalf("%d pieces", len(ranges))
		}
		for other, was := range seen {
			if left := flows(was, ranges)[[2]int{1, 0}]; other <= weight && left > 0 {
				t.Fatalf("%d points met the arm at %d and not at %d", left, other, weight)
			}
		}
		seen[weight] = ranges
	}
}

// However often weights change, pieces stay few.
func TestPiecesStayFew(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 9))
	for _, n := range []int{3, 5, 8} {
		ranges, most := allocation.New(shares(random, n)), 0
		for range 1_000 {
			ranges = allocation.Move(ranges, shares(random, n))
			most = max(most, len(ranges))
		}
		if most > 4*n {
			t.Errorf("%d arms had %d pieces", n, most)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	got := allocation.New([]int32{0, 900_000, 0, 100_000})
	if want := []allocation.Range{{0, 900_000, 1}, {900_000, 1_000_000, 3}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	same := allocation.Move(got, []int32{0, 900_000, 0, 100_000})
	if !slices.Equal(got, same) {
		t.Errorf("equal shares changed %v to %v", got, same)
	}
}
