package respcache

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// maxRenewals bounds the answers that an edge makes anew at once.
	maxRenewals = 64
	// maxPauses bounds those that are kept in mind since they came to nothing.
	maxPauses = 16 * maxRenewals
	// renewPause is after how long an answer is tried to be made anew again that could
	// not be, and renewLease for how long the other edges leave one to the edge that
	// began: it may take longer, and is then made twice.
	renewPause = 10 * time.Second
	renewLease = 30 * time.Second
	// elsewherePause is after how long an edge asks again whether another one still does.
	elsewherePause = time.Second
)

// renewals knows which stale answers are made anew. The zero value is ready, and safe
// for concurrent use.
type renewals struct {
	mu      sync.Mutex
	running map[Key]*Renewal
	// until is when those that came to nothing may be tried again.
	until map[Key]time.Time
}

// Renewal is one stale answer that is to be made anew, by this caller alone.
type Renewal struct {
	cache *Cache
	key   Key
	away  bool
	// made says that the answer was kept; the renewals' mu guards it.
	made bool
}

// The outcomes of renewals.
const (
	renewed        = "renewed"
	renewFailed    = "failed"    // or made, but not to be kept
	renewBounded   = "bounded"   // too many at once
	renewElsewhere = "elsewhere" // another edge does
)

// Renew has the caller make a stale answer anew; false: somebody of this edge does,
// could not a moment ago, or too many are being made. Done must be called then.
func (c *Cache) Renew(k Key) (*Renewal, bool) {
	now := c.Clock.Now()
	r := &c.renewals
	r.mu.Lock()
	defer r.mu.Unlock()
	if until, known := r.until[k]; r.running[k] != nil || known && now.Before(until) {
		return nil, false
	}
	if len(r.running) >= maxRenewals {
		c.Metrics.Renewed(c.base, renewBounded)
		return nil, false
	}
	if r.running == nil {
		r.running, r.until = make(map[Key]*Renewal), make(map[Key]time.Time)
	}
	if delete(r.until, k); len(r.until) >= maxPauses { // failures of long ago, which nobody asked for since
		maps.DeleteFunc(r.until, func(_ Key, until time.Time) bool { return !now.Before(until) })
	}
	out := &Renewal{cache: c, key: k}
	r.running[k] = out
	return out, true
}

// kept notes that an answer was kept, which may be one that was to be made anew.
func (r *renewals) kept(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.running[k]; one != nil {
		one.made = true
	}
}

// Mine reports whether no other edge makes it anew: it asks the shared store, for
// as long as a request would wait for that. Where nobody can tell, it is made.
func (r *Renewal) Mine(ctx context.Context) bool {
	if s := r.cache.shared; s != nil && !s.claim(ctx, r.key, renewLease) {
		r.away = true
	}
	return !r.away
}

// Done ends the renewal. One that left nothing new is not tried again for a while,
// and the stale answer is given on for as long as it may be.
func (r *Renewal) Done() {
	c, m := r.cache, &r.cache.renewals
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, r.key)
	outcome, pause := renewFailed, renewPause
	switch {
	case r.made:
		outcome, pause = renewed, 0
	case r.away:
		outcome, pause = renewElsewhere, elsewherePause
	}
	if pause > 0 && len(m.until) < maxPauses {
		m.until[r.key] = c.Clock.Now().Add(pause)
	}
	c.Metrics.Renewed(c.base, outcome)
}
