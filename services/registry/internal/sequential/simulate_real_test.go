//go:build real

package sequential_test

import (
	"math"
	"slices"
	"testing"
)

// The whole simulation: 10,000 experiments without an effect, looked at after
// every one of 100 batches.
func TestRealFalseAlarms(t *testing.T) { falseAlarms(t, 10_000, 100) }

// A relative harm of 5 % on an error rate of 10 %, found by a test of 5 % that
// looks after every batch, beside a test that looks once.
func TestRealPower(t *testing.T) {
	const (
		alpha, power = 0.05, 0.9
		z            = 1.6448536 + 1.2815516
		p, q         = 0.1, 0.105
		most         = 3.0 // times the fixed size
	)
	fixed := z * z * (p*(1-p) + q*(1-q)) / ((q - p) * (q - p))
	const perBatch = 2000
	w := world{perBatch, int(most*fixed) * 2 / perBatch, bernoulli(p, q), true, half}
	share, took := w.found(3, 1000, 0, alpha)
	slices.Sort(took)
	at := func(s float64) float64 { return took[min(int(s*1000), len(took)-1)] }
	var sum float64
	for _, n := range took {
		sum += n
	}
	sum += most * fixed * (1000 - float64(len(took)))
	t.Logf("fixed: %.0f an arm for a power of %.2f", fixed, power)
	t.Logf("sequential: power %.3f by %.1f times as many; mean %.2f, median %.2f, 90th percentile %.2f times as many",
		share, most, sum/1000/fixed, at(0.5)/fixed, at(0.9)/fixed)
	if share < power || math.IsNaN(sum) {
		t.Errorf("a power of %.3f", share)
	}
}
