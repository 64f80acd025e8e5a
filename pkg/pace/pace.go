// Package pace bounds how slowly a peer may move bytes: only the time that is spent
// waiting for it counts, and what it moves earns it more. Start reading at Pace.
package pace

import "time"

// Pace is the time that a peer may still have us wait. A peer that moves fewer bytes
// a second than the rate, over more waiting than the grace, has none left; what it
// was quicker before is worth one grace at most. It must not be used by two
// goroutines at once.
type Pace struct {
	rate  int64
	grace time.Duration
	spent time.Duration
}

// New returns a pace of rate bytes a second; with 0 each wait alone is bounded, by
// grace.
func New(rate int64, grace time.Duration) *Pace { return &Pace{rate: rate, grace: grace} }

// Left returns how long the next wait may be.
func (p *Pace) Left() time.Duration { return p.grace - p.spent }

// Behind reports whether bytes moved would earn anything.
func (p *Pace) Behind() bool { return p.spent > 0 }

// Moved notes that n bytes moved after a wait.
func (p *Pace) Moved(n int, waited time.Duration) {
	if p.rate == 0 {
		return
	}
	p.spent += waited - earned(int64(n), p.rate, p.grace)
	p.spent = min(max(p.spent, 0), p.grace)
}

// earned is the time that n bytes take at the rate, at most most.
func earned(n, rate int64, most time.Duration) time.Duration {
	if n/rate > int64(most/time.Second) {
		return 2 * most // a wait and what was spent before, both
	}
	return time.Duration(n) * time.Second / time.Duration(rate)
}
