package respcache

import (
	"context"
	"sync"
	"time"
)

const (
	// maxRenewals bounds the answers that an edge makes anew at once.
	maxRenewals = 64
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
	mu sync.Mutex
	// until is when each may be tried again; zero: it is being made.
	until   map[Key]time.Time
	running int
}

// Renewal is one stale answer that is to be made anew, by this caller alone.
type Renewal struct {
	cache *Cache
	key   Key
	began time.Time
	away  bool
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
	if until, known := r.until[k]; known && (until.IsZero() || now.Before(until)) {
		return nil, false
	}
	if r.running >= maxRenewals {
		c.Metrics.Renewed(c.base, renewBounded)
		return nil, false
	}
	if r.until == nil {
		r.until = make(map[Key]time.Time)
	}
	if len(r.until) >= 2*maxRenewals { // failures of long ago, which nobody asked for since
		for key, until := range r.until {
			if !until.IsZero() && !now.Before(until) {
				delete(r.until, key)
			}
		}
	}
	r.until[k] = time.Time{}
	r.running++
	return &Renewal{cache: c, key: k, began: now}, true
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
	c := r.cache
	outcome, pause := renewFailed, renewPause
	if e, ok := c.memory.get(r.key); r.away {
		outcome, pause = renewElsewhere, elsewherePause
	} else if ok && !e.Made.Before(r.began) {
		outcome, pause = renewed, 0
	}
	c.Metrics.Renewed(c.base, outcome)
	m := &c.renewals
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	// Those that are kept in mind are as bounded as those that run.
	if delete(m.until, r.key); pause > 0 && len(m.until) < 16*maxRenewals {
		m.until[r.key] = c.Clock.Now().Add(pause)
	}
}
