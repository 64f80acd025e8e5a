package limit

import "time"

// gcra is the generic cell rate algorithm (ITU-T I.371, annex A, in its virtual
// scheduling form), which is a token bucket that keeps one instant per key
// rather than a count and a time: tat, the theoretical arrival time, is when
// the bucket will be full again. Times are durations since a fixed instant of
// the store's own. It returns the key's new tat.
func gcra(now, tat time.Duration, cost int, l Limit) (time.Duration, Decision) {
	interval := l.interval()
	tolerance := interval * time.Duration(l.burst())
	tat = max(tat, now)
	next := tat + interval*time.Duration(cost)
	d := Decision{Limit: l}
	if wait := next - tolerance - now; wait > 0 {
		d.Remaining = int(max(now+tolerance-tat, 0) / interval) // a debt leaves nothing
		d.ResetAfter = tat - now
		// A cost above the burst is never admitted; waiting longer does not help.
		d.RetryAfter = min(wait, max(d.ResetAfter, interval))
		return tat, d
	}
	d.Allowed = true
	d.Remaining = int((now + tolerance - next) / interval)
	d.ResetAfter = next - now
	return next, d
}

// charge takes cost whatever is left, and returns the key's new tat.
func charge(now, tat time.Duration, cost int, l Limit) time.Duration {
	return max(tat, now) + l.interval()*time.Duration(cost)
}
