package pace_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/pace"
)

// moves has a peer move n bytes after each wait, and returns after how many such
// turns, and after how long, it is given up; 0 when it is not.
func moves(p *pace.Pace, n int, wait time.Duration) (turns int, after time.Duration) {
	for i := range 10_000 {
		if wait > p.Left() {
			return i, after
		}
		p.Moved(n, wait)
		after += wait
	}
	return 0, after
}

func TestPace(t *testing.T) {
	const grace = time.Minute
	for name, c := range map[string]struct {
		n     int
		wait  time.Duration
		after time.Duration // about; 0: never
	}{
		"as fast as it must be":         {64, time.Second, 0},
		"twice as fast":                 {128, time.Second, 0},
		"rarely, and much":              {64 * 50, 50 * time.Second, 0},
		"a byte a second":               {1, time.Second, time.Minute},
		"half as fast":                  {32, time.Second, 2 * time.Minute},
		"a byte when it is almost late": {1, 59 * time.Second, time.Minute},
		"nothing":                       {0, 10 * time.Second, time.Minute},
		"a gigabyte at once":            {1 << 30, 59 * time.Second, 0},
		"longer than the grace":         {1 << 30, 61 * time.Second, time.Nanosecond},
	} {
		p := pace.New(64, grace)
		turns, after := moves(p, c.n, c.wait)
		if c.after == 0 && turns != 0 || c.after > time.Second && (after > c.after+2*time.Second || turns == 0) || c.after == time.Nanosecond && after != 0 {
			t.Errorf("%s: given up after %d turns and %v, want %v", name, turns, after, c.after)
		}
	}
	if turns, _ := moves(pace.New(0, grace), 1, 59*time.Second); turns != 0 {
		t.Errorf("without a rate it was given up after %d turns", turns)
	}
}

// What was quick before is worth one grace, however much it was.
func TestQuickBeforeIsNotSlowForEver(t *testing.T) {
	p := pace.New(64, time.Minute)
	for range 1000 {
		p.Moved(1<<40, 30*time.Second)
	}
	if _, after := moves(p, 1, time.Second); after > 62*time.Second {
		t.Errorf("given up after %v", after)
	}
}
