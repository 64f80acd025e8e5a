package fusion

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func methods() []Method { return []Method{Standardised, ReciprocalRank, MinMax} }

// legs makes two legs of up to 150 hits out of 200 chunks. Scores are few, so
// that many are equal.
func legs(r *rand.Rand, weights ...float64) []Leg {
	out := make([]Leg, len(weights))
	for i, w := range weights {
		out[i].Weight = w
		for _, n := range r.Perm(200)[:r.IntN(151)] {
			out[i].Hits = append(out[i].Hits, Scored{fmt.Sprintf("c%03d", n), float64(r.IntN(40)) / 8})
		}
	}
	return out
}

// each runs a check many times over, with every method.
func each(t *testing.T, check func(t *testing.T, m Method, r *rand.Rand)) {
	t.Helper()
	for _, m := range methods() {
		t.Run(string(m), func(t *testing.T) {
			for seed := range uint64(100) {
				check(t, m, rand.New(rand.NewPCG(seed, 1)))
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
		})
	}
}

func TestOrderOfALegsHitsDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, m Method, r *rand.Rand) {
		t.Helper()
		in := legs(r, 1+r.Float64(), 1+r.Float64())
		want := Fuse(m, in)
		for _, l := range in {
			r.Shuffle(len(l.Hits), func(i, j int) { l.Hits[i], l.Hits[j] = l.Hits[j], l.Hits[i] })
		}
		if got := Fuse(m, in); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestResultsAreInOrder(t *testing.T) {
	each(t, func(t *testing.T, m Method, r *rand.Rand) {
		t.Helper()
		out := Fuse(m, legs(r, r.Float64(), r.Float64()))
		for i := range len(out) - 1 {
			a, b := out[i], out[i+1]
			if a.Score < b.Score || a.Score == b.Score && a.ID >= b.ID {
				t.Errorf("%v is before %v", a, b)
			}
		}
	})
}

func TestALegWithAllTheWeightRanksAlone(t *testing.T) {
	each(t, func(t *testing.T, m Method, r *rand.Rand) {
		t.Helper()
		for i, weights := range [][]float64{{1000, 0}, {0, 0.001}} {
			in := legs(r, weights...)
			var got, want []string
			for _, h := range Fuse(m, in) {
				got = append(got, h.ID)
				if h.Parts[i].Weight != 1 || h.Parts[1-i].Weight != 0 || h.Score != h.Parts[i].Normalized {
					t.Errorf("got %+v", h)
				}
			}
			for _, h := range Single(in[i]) {
				want = append(want, h.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		}
	})
}

func TestReciprocalRankIsThePapers(t *testing.T) {
	each(t, func(t *testing.T, _ Method, r *rand.Rand) {
		t.Helper()
		in := legs(r, 1, 1)
		for _, got := range Fuse(ReciprocalRank, in) {
			sum := 0.0
			for _, l := range in {
				for i, h := range Single(l) {
					if h.ID == got.ID {
						sum += 1 / (60 + float64(i+1))
					}
				}
			}
			if math.Abs(2*got.Score-sum) > 1e-12 {
				t.Errorf("%s: %v, want half of %v", got.ID, got.Score, sum)
			}
		}
	})
}

// Whatever a leg says, what comes out is a number, in the API's JSON too.
func FuzzNumbersComeOut(f *testing.F) {
	f.Add(math.NaN(), math.Inf(1), math.Inf(-1), 1.0, 0.0)
	f.Add(math.MaxFloat64, -math.MaxFloat64, 5e-324, 1e-320, 1000.0)
	f.Add(1.0, 1.0, 1.0+1e-15, 5e-324, 5e-324)
	f.Fuzz(func(t *testing.T, a, b, c, w1, w2 float64) {
		if !(w1 >= 0 && w1 <= 1000 && w2 >= 0 && w2 <= 1000) {
			return // refused before
		}
		in := []Leg{
			{Weight: w1, Hits: []Scored{{"a", a}, {"b", b}, {"c", c}}},
			{Weight: w2, Hits: []Scored{{"c", a}, {"d", b}}},
		}
		results := Single(in[0])
		for _, m := range append(methods(), "") {
			results = append(results, Fuse(m, in)...)
		}
		for _, r := range results {
			numbers := []float64{r.Score}
			for _, p := range r.Parts {
				numbers = append(numbers, p.Score, p.Normalized, p.Weight)
			}
			for _, n := range numbers {
				if math.IsNaN(n) || math.IsInf(n, 0) {
					t.Fatalf("got %+v", r)
				}
			}
		}
	})
}
