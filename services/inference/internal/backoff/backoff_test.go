package backoff_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference/internal/backoff"
)

func TestWaitDoublesToTheBound(t *testing.T) {
	t.Parallel()
	p := backoff.Policy{Base: 100 * time.Millisecond, Max: time.Second}
	for failures, want := range map[int]time.Duration{
		0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
		4: 800 * time.Millisecond, 5: time.Second, 1 << 30: time.Second,
	} {
		if got := p.Wait(failures); got != want {
			t.Errorf("Wait(%d) = %v; want %v", failures, got, want)
		}
	}
}

func TestJitterTakesTheUpperHalf(t *testing.T) {
	t.Parallel()
	for jitter, want := range map[float64]time.Duration{0: 200 * time.Millisecond, 0.5: 300 * time.Millisecond} {
		p := backoff.Policy{Base: 100 * time.Millisecond, Max: time.Second, Jitter: func() float64 { return jitter }}
		if got := p.Wait(3); got != want {
			t.Errorf("jitter %v: Wait(3) = %v; want %v", jitter, got, want)
		}
	}
}
