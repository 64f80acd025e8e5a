package split_test

import (
	"testing"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// BenchmarkSplit is a whole decision of a split: where the key lies, and in whose
// range. The budget is 200 ns without an allocation.
func BenchmarkSplit(b *testing.B) {
	weights := []uint32{900_000, 50_000, 50_000}
	const salt, key = "0123456789abcdef0123456789abcdef", "user:3f9c2d1e-6a54-4c53-9f6b-0c1d2e3f4a5b"
	b.ReportAllocs()
	arms := 0
	for b.Loop() {
		arms += split.Choose(weights, split.Point(salt, key))
	}
	if arms < 0 {
		b.Fatal("no arm")
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	weights := []uint32{900_000, 100_000}
	if n := testing.AllocsPerRun(100, func() { split.Choose(weights, split.Point("salt", "user:42")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
