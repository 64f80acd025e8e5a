package limit

import "time"

// fewerAfter is for how long discovery must know of fewer replicas before shares grow:
// a replica that discovery has lost for a moment still lets requests in.
const fewerAfter = 10 * time.Second

// replicas is how many share the limits, as discovery knows; 0: it does not say.
type replicas struct {
	known int
	fewer int       // what is waited for; 0: nothing is
	since time.Time // since when
}

// found notes how many there are. More hold at once, since shares shrink with them.
func (r *replicas) found(now time.Time, n int) {
	switch {
	case n >= r.known:
		r.known, r.fewer = n, 0
	case r.fewer == 0:
		r.fewer, r.since = n, now
	default:
		r.fewer = max(r.fewer, n) // the most that there were meanwhile
	}
}

// count is how many there are.
func (r *replicas) count(now time.Time) int {
	if r.fewer > 0 && now.Sub(r.since) >= fewerAfter {
		r.known, r.fewer = r.fewer, 0
	}
	return r.known
}

// Found tells how many replicas discovery knows, this one among them. That holds while
// Redis is away; else Redis itself knows who asks it.
func (l *Leased) Found(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replicas.found(l.o.Clock.Now(), max(n, 1))
}

// sharers is how many replicas share a limit. The lock must be held.
func (l *Leased) sharers() int {
	if !l.alone.away {
		return l.edges
	}
	if n := l.replicas.count(l.o.Clock.Now()); n > 0 {
		return n
	}
	return l.edges
}
