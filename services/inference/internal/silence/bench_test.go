package silence_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/inference/internal/silence"
)

// BenchmarkHeard is what a message costs on each of many guarded streams, with
// what it wakes.
func BenchmarkHeard(b *testing.B) {
	const streams = 1000
	var heard [streams]func()
	for i := range heard {
		_, on, stop := silence.Guard(b.Context(), clock.Real(), time.Minute)
		b.Cleanup(stop)
		heard[i] = on
	}
	for i := 0; b.Loop(); i++ {
		heard[i%streams]()
		if i%streams == 0 {
			runtime.Gosched()
		}
	}
}
