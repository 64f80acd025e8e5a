package sequential_test

import (
	"slices"
	"testing"
)

func TestFalseAlarms(t *testing.T) { falseAlarms(t, 80, 40) }

// A candidate that fails ten times as often is found within a hundred of its
// requests.
func TestBrokenIsFoundAtOnce(t *testing.T) {
	const looks = 20
	w := world{50, looks, bernoulli(0.02, 0.2), true, func(int) float64 { return 0.1 }}
	share, took := w.found(1, 100, 0.05, 0.05)
	if share < 0.9 {
		t.Errorf("found in %.0f %% of the experiments within %d of the candidate's requests", 100*share, looks*5)
	}
	slices.Sort(took)
	t.Logf("after %.0f of the candidate's requests at the median, in %.1f %% within %d", took[len(took)/2]/5, 100*share, looks*5)
}
