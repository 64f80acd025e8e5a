package sequential_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/sequential"
)

// world is a simulated experiment: what is seen of arms a and b per batch.
type world struct {
	perBatch, looks int
	draw            func(r *rand.Rand, arm int) float64
	unit            bool
	// share is b's share of the traffic at a look.
	share func(look int) float64
}

// found simulates the experiments and returns the share of those in which the
// test said at some look that b is worse, and how many values per arm that took at
// the median.
func (w world) found(seed uint64, experiments int, allowed, alpha float64) (share float64, took []float64) {
	var alarms int
	for e := range experiments {
		r := rand.New(rand.NewPCG(seed, uint64(e)))
		a, b := sequential.Sample{Unit: w.unit}, sequential.Sample{Unit: w.unit}
		for look := range w.looks {
			for range w.perBatch {
				if r.Float64() < w.share(look) {
					b = add(b, w.draw(r, 1))
				} else {
					a = add(a, w.draw(r, 0))
				}
			}
			if sequential.Above(a, b, 1+allowed, alpha) {
				alarms++
				took = append(took, (a.N+b.N)/2)
				break
			}
		}
	}
	return float64(alarms) / float64(experiments), took
}

func add(s sequential.Sample, x float64) sequential.Sample {
	s.N++
	s.Sum += x
	s.SumSquares += x * x
	return s
}

func bernoulli(rates ...float64) func(*rand.Rand, int) float64 {
	return func(r *rand.Rand, arm int) float64 {
		if r.Float64() < rates[arm] {
			return 1
		}
		return 0
	}
}

func half(int) float64 { return 0.5 }

// ramp is 1 %, 5 %, 25 %, 50 %.
func ramp(looks int) func(int) float64 {
	return func(look int) float64 { return []float64{0.01, 0.05, 0.25, 0.5}[look*4/looks] }
}

// nothing is experiments in which b is as good as a.
func nothing(looks int) map[string]world {
	return map[string]world{
		"errors of 10 %, halves":    {100, looks, bernoulli(0.1, 0.1), true, half},
		"errors of 10 %, ramped":    {100, looks, bernoulli(0.1, 0.1), true, ramp(looks)},
		"errors of 1 %, a tenth":    {100, looks, bernoulli(0.01, 0.01), true, func(int) float64 { return 0.1 }},
		"errors of 0.1 %, ramped":   {100, looks, bernoulli(0.001, 0.001), true, ramp(looks)},
		"costs, exponential":        {100, looks, func(r *rand.Rand, _ int) float64 { return r.ExpFloat64() }, false, half},
		"costs, log-normal, ramped": {100, looks, func(r *rand.Rand, _ int) float64 { return math.Exp(r.NormFloat64()) }, false, ramp(looks)},
		"verdicts":                  {20, looks, func(r *rand.Rand, _ int) float64 { return math.Round(2*r.Float64()) / 2 }, true, half},
	}
}

func falseAlarms(t *testing.T, experiments, looks int) {
	t.Helper()
	const alpha = 0.05
	for name, w := range nothing(looks) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			share, _ := w.found(7, experiments, 0, alpha)
			// What chance adds to a share of 5 % at most.
			slack := 3 * math.Sqrt(alpha*(1-alpha)/float64(experiments))
			if experiments >= 10_000 {
				slack = 0
			}
			t.Logf("%d experiments, %d looks each: %.2f %% false alarms", experiments, w.looks, 100*share)
			if share > alpha+slack {
				t.Errorf("%.2f %% false alarms", 100*share)
			}
		})
	}
}
