package limit

import "time"

// gcra is the generic cell rate algorithm (ITU-T I.371, annex A, in its virtual
// scheduling form), which is a token bucket that keeps one instant per bucket
// rather than a count and a time: tat, the theoretical arrival time, is when
// the bucket will be full again. Times are durations since a fixed instant of
// the store's own. It returns the bucket's new tat.
func gcra(now, tat time.Duration, cost int, l Limit) (time.Duration, Decision) {
	interval, tolerance := l.interval(), l.tolerance()
	tat = max(tat, now)
	if cost > l.AtOnce() { // never admitted; waiting does not help
		d := state(now, tat, l)
		d.Allowed = false
		return tat, d
	}
	next := tat + interval*time.Duration(cost)
	if wait := next - tolerance - now; wait > 0 {
		d := state(now, tat, l)
		d.Allowed, d.RetryAfter = false, wait
		return tat, d
	}
	return next, state(now, next, l)
}

// state is what a bucket has.
func state(now, tat time.Duration, l Limit) Decision {
	tat = max(tat, now)
	return Decision{
		Allowed: true, Limit: l,
		Remaining:  int(max(now+l.tolerance()-tat, 0) / l.interval()), // a debt leaves nothing
		ResetAfter: tat - now,
	}
}

// settle takes cost whatever is left, or gives a negative one back, and returns the
// bucket's new tat.
func settle(now, tat time.Duration, cost int, l Limit) time.Duration {
	most := maxDebt * l.AtOnce()
	next := max(tat, now) + l.interval()*time.Duration(min(max(cost, -most), most))
	return min(max(next, now), now+maxDebt*l.tolerance())
}
