// Package backoff says how long to wait before the next try of something that
// failed. It does not wait itself; start reading at Policy.
package backoff

import "time"

// Policy doubles the wait from Base to Max. It is a value and may be shared.
type Policy struct {
	// Base is the wait after the first failure.
	Base time.Duration
	// Max bounds the wait.
	Max time.Duration
	// Jitter returns a number in [0, 1), as rand.Float64 does; it must be safe
	// for concurrent use. Nil stretches nothing.
	Jitter func() float64
}

// Wait returns the wait after the given number of failures in a row, from 1.
// The upper half of it is left to chance ("equal jitter"), so that those who
// failed together do not come back together.
func (p Policy) Wait(failures int) time.Duration {
	wait := p.Base
	for range failures - 1 {
		if wait >= p.Max/2 {
			wait = p.Max
			break
		}
		wait *= 2
	}
	wait = min(wait, p.Max)
	if p.Jitter == nil {
		return wait
	}
	half := wait / 2
	return half + time.Duration(p.Jitter()*float64(wait-half))
}
