//go:build !race

package split_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// With the race detector a sync.Pool forgets now and then, so that these are built
// without it; make test runs them by themselves.

func TestPointAllocatesNothing(t *testing.T) {
	key := strings.Repeat("k", 256)
	if n := testing.AllocsPerRun(100, func() { _ = split.Point("0123456789abcdef0123456789abcdef", key) }); n != 0 {
		t.Errorf("Point allocates %v times", n)
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	weights := []uint32{900_000, 100_000}
	if n := testing.AllocsPerRun(100, func() { split.Choose(weights, split.Point("salt", "user:42")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	e, s := whole()
	if n := testing.AllocsPerRun(100, func() {
		if e.Decide(s) < 0 {
			t.Error("not decided")
		}
	}); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}
