package limit

import "time"

// entry returns what is known of an ask's bucket. When too many are known it
// returns one that is not remembered. The lock must be held.
func (l *Leased) entry(now time.Time, a Ask) *entry {
	e := l.entries[a.Bucket]
	if e == nil {
		e = &entry{limit: a.Limit, counted: now}
		if len(l.entries) < l.o.MaxBuckets {
			l.entries[a.Bucket] = e
		}
	}
	if e.limit != a.Limit { // it was changed
		l.giveBack(a.Bucket, e)
		e.limit, e.full, e.held, e.retry = a.Limit, time.Time{}, time.Time{}, time.Time{}
	}
	e.used = now
	return e
}

// giveBack gives back what is left of a lease. The lock must be held.
func (l *Leased) giveBack(bucket string, e *entry) {
	if e.units > 0 {
		l.queue(settlement{bucket: bucket, limit: e.limit, cost: -e.units})
		l.stir()
		e.units = 0
	}
}

// decision is what the bucket has, as far as this replica knows: what Redis said,
// what was refilled since, and the lease.
func (e *entry) decision(now time.Time) Decision {
	leased := e.limit.interval() * time.Duration(e.units)
	reset := max(e.full.Sub(now), 0)
	left := int(max(e.limit.tolerance()-reset, 0)/e.limit.interval()) + e.units
	return Decision{
		Allowed: true, Limit: e.limit, Remaining: min(left, e.limit.AtOnce()), ResetAfter: max(reset-leased, 0),
	}
}

// deny notes that Redis refused a cost. Where units come in quicker than it is worth
// asking, a few are waited for.
func (e *entry) deny(now time.Time, cost int, retry time.Duration) {
	e.denied, e.retry = cost, now.Add(retry)
	hold := retry
	if e.limit.interval() < holdLeast {
		hold = max(retry, min(holdLeast, e.limit.tolerance()/4))
	}
	e.held = now.Add(min(hold, holdMost))
}

// count notes what was taken.
func (e *entry) count(now time.Time, cost int) {
	e.settleRate(now)
	e.taken += cost
}

// settleRate measures the rate in steps of leaseFor; half of it is the last step's.
func (e *entry) settleRate(now time.Time) {
	since := now.Sub(e.counted)
	if since < leaseFor {
		return
	}
	e.rate = e.rate/2 + float64(e.taken)/since.Seconds()/2
	e.taken, e.counted = 0, now
}

// lease is how much more to take than is needed: what is used in leaseFor at the
// rate that was seen, and never so much that what replicas hold counts.
func (e *entry) lease(now time.Time, edges int) int {
	e.settleRate(now)
	if e.flight != nil {
		return 0
	}
	rate := max(e.rate, float64(e.taken)/leaseFor.Seconds())
	n := min(int(rate*leaseFor.Seconds()), e.limit.AtOnce()/leasePart/max(edges, 1))
	if n < 2 {
		return 0
	}
	return n
}
