package sequential_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/sequential"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Cases that can be worked out by hand.
func TestExactCases(t *testing.T) {
	// Five of five: B(5.5, 0.5)/B(0.5, 0.5) = 63/256, so that p^5 = 0.05·63/256.
	m := sequential.Mean(sequential.Count(5, 5), 0.05)
	near(t, "the lower bound of five of five", m.Lower, math.Pow(0.05*63/256, 0.2))
	near(t, "its upper bound", m.Upper, 1)
	none := sequential.Mean(sequential.Count(0, 0), 0.05)
	if none.Lower != 0 || none.Upper != 1 {
		t.Errorf("nothing seen gives %v", none)
	}
	// One subject in each of two equal arms: Γ(100)/Γ(102) · 50 · 50 · 4.
	near(t, "the sample ratio's e-value", sequential.SampleRatio([]int64{1, 1}, []float64{0.5, 0.5}),
		math.Log(50*50*4/(100.0*101)))
	if !math.IsInf(sequential.SampleRatio([]int64{1, 1}, []float64{1, 0}), 1) {
		t.Error("a subject where none may be is no mismatch")
	}
	if got := sequential.SampleRatio([]int64{7, 0}, []float64{1, 0}); math.Abs(got) > 1e-9 {
		t.Errorf("all where all must be gives %v", got)
	}
}

func TestLittleSaysNothing(t *testing.T) {
	one, other := sequential.Sample{N: 3, Sum: 1, SumSquares: 0.5}, sequential.Sample{N: 3, Sum: 9, SumSquares: 30}
	if worse, bound := sequential.Worse(one, other, 0, 0.05); worse || bound != -1 {
		t.Errorf("three values say %v, %v", worse, bound)
	}
	if r := sequential.Ratio(one, other, 0.05); r.Lower != -1 || !math.IsInf(r.Upper, 1) || math.Abs(r.Estimate-8) > 1e-9 {
		t.Errorf("three values give %v", r)
	}
	for _, empty := range []sequential.Sample{{}, {Unit: true}} {
		if worse, _ := sequential.Worse(empty, other, 0, 0.05); worse {
			t.Error("worse than nothing")
		}
		if worse, _ := sequential.Worse(other, empty, 0, 0.05); worse {
			t.Error("nothing is worse")
		}
	}
}

// What must hold of any sums.
func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		n, m := 1+r.Int64N(5000), 1+r.Int64N(5000)
		a, b := sequential.Count(r.Int64N(n+1), n), sequential.Count(r.Int64N(m+1), m)
		alpha := 0.001 + 0.2*r.Float64()
		for _, s := range []sequential.Sample{a, b} {
			i := sequential.Mean(s, alpha)
			if i.Lower > i.Estimate || i.Upper < i.Estimate || i.Lower < 0 || i.Upper > 1 {
				t.Fatalf("%+v gives %v", s, i)
			}
			if wide := sequential.Mean(s, alpha/10); wide.Lower > i.Lower || wide.Upper < i.Upper {
				t.Fatalf("%+v: surer is narrower: %v, %v", s, wide, i)
			}
		}
		ratio := sequential.Ratio(a, b, alpha)
		if !math.IsNaN(ratio.Estimate) && (ratio.Lower > ratio.Estimate+1e-9 || ratio.Upper < ratio.Estimate-1e-9) {
			t.Fatalf("%+v %+v give %v", a, b, ratio)
		}
		allowed := r.Float64()
		worse, bound := sequential.Worse(a, b, allowed, alpha)
		if worse != (bound > allowed) && math.Abs(bound-allowed) > 1e-6 {
			t.Fatalf("%+v %+v: worse than %v: %v, but the bound is %v", a, b, allowed, worse, bound)
		}
		if surer, _ := sequential.Worse(a, b, allowed, alpha/10); surer && !worse {
			t.Fatalf("%+v %+v: surer but not sure", a, b)
		}
		if more, _ := sequential.Worse(a, b, allowed+0.1, alpha); more && !worse {
			t.Fatalf("%+v %+v: worse by more, and not by less", a, b)
		}
	}
}

// The sums decide, not how they came.
func TestOrderDoesNotMatter(t *testing.T) {
	a, b := sequential.Count(10, 300), sequential.Count(50, 600)
	if a.Add(b) != b.Add(a) || a.Add(b) != sequential.Count(60, 900) {
		t.Error("sums differ")
	}
}

func TestIntervalsHold(t *testing.T) {
	const experiments, looks, batch, alpha = 100, 40, 30, 0.05
	missed, quantiles, mismatches := 0, 0, 0
	bounds := []float64{0.5, 1, 1.5, 2, 2.5, 2.9, 3.0957, 3.3, 4, 5, 8}
	const q95 = 2.9957 // of the exponential distribution
	for e := range experiments {
		r := rand.New(rand.NewPCG(11, uint64(e)))
		s, counts, arms := sequential.Sample{Unit: true}, make([]int64, len(bounds)+1), make([]int64, 3)
		var miss, missQ, missR bool
		for range looks {
			for range batch {
				s = add(s, bernoulli(0.05)(r, 0))
				x := r.ExpFloat64()
				i := 0
				for i < len(bounds) && x >= bounds[i] {
					i++
				}
				counts[i]++
				arms[[]int{0, 1, 1, 2, 2, 2, 2, 2, 2, 2}[r.IntN(10)]]++
			}
			m := sequential.Mean(s, alpha)
			miss = miss || m.Lower > 0.05 || m.Upper < 0.05
			q := sequential.Quantile(counts, bounds, 0.95, alpha)
			missQ = missQ || q.Lower > q95 || q.Upper < q95
			missR = missR || sequential.SampleRatio(arms, []float64{0.1, 0.2, 0.7}) >= math.Log(1/alpha)
		}
		for ok, n := range map[*bool]*int{&miss: &missed, &missQ: &quantiles, &missR: &mismatches} {
			if *ok {
				*n++
			}
		}
	}
	for name, n := range map[string]int{"means": missed, "quantiles": quantiles, "sample ratios": mismatches} {
		if float64(n)/experiments > alpha+0.065 {
			t.Errorf("%s: wrong in %d of %d experiments", name, n, experiments)
		}
	}
}

func TestFinds(t *testing.T) {
	// 600 of 1000 where half should be; 95th percentiles of 1 and 4 seconds.
	if e := sequential.SampleRatio([]int64{600, 400}, []float64{0.5, 0.5}); e < math.Log(1000) {
		t.Errorf("600 to 400 has an e-value of e^%.1f", e)
	}
	bounds := []float64{0.5, 1, 2, 4}
	q := sequential.Quantile([]int64{500, 480, 20, 0, 0}, bounds, 0.95, 0.05)
	if q.Estimate != 1 || q.Lower != 0.5 || q.Upper != 1 {
		t.Errorf("got %v", q)
	}
	// Twice the cost, of a thousand requests each.
	a, b := sequential.Sample{N: 1000, Sum: 1000, SumSquares: 2000}, sequential.Sample{N: 1000, Sum: 2000, SumSquares: 8000}
	if worse, bound := sequential.Worse(a, b, 0.05, 0.05); !worse || bound < 0.5 || bound > 1 {
		t.Errorf("twice the cost: %v, at least %v more", worse, bound)
	}
	if r := sequential.Ratio(a, b, 0.05); r.Lower < 0.4 || r.Upper > 2 {
		t.Errorf("twice the cost is %v", r)
	}
}
