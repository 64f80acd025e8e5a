package split_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// BenchmarkSplit is a whole decision of a split: where the key lies, and in whose
// range. The budget is 200 ns without an allocation; on a machine that does other
// work too, the process's own time tells what a decision costs.
func BenchmarkSplit(b *testing.B) {
	weights := []uint32{900_000, 50_000, 50_000}
	const salt, key = "0123456789abcdef0123456789abcdef", "user:3f9c2d1e-6a54-4c53-9f6b-0c1d2e3f4a5b"
	b.ReportAllocs()
	arms := 0
	before := userTime(b)
	for b.Loop() {
		arms += split.Choose(weights, split.Point(salt, key))
	}
	b.ReportMetric(float64((userTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	if arms < 0 {
		b.Fatal("no arm")
	}
}

// userTime is how long this process has computed.
func userTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano())
}
