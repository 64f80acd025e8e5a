package respcache

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Tally is what the cache did, for one tenant or for all.
type Tally struct {
	Hits, Semantic, Stale, Misses, Bypasses int64
	// Prompt and Completion are tokens that were saved.
	Prompt, Completion int64
}

// ratio is hits, stale ones too, of hits and misses; 0 before the first.
func (t Tally) ratio() float64 {
	if n := t.Hits + t.Stale + t.Misses; n > 0 {
		return float64(t.Hits+t.Stale) / float64(n)
	}
	return 0
}

// maxTallies bounds the tenants that are counted for, each by itself: those that
// asked last.
const maxTallies = 4096

// tallies counts for each tenant and for all. The zero value is ready.
type tallies struct {
	mu    sync.Mutex
	all   Tally
	known *lru.Cache[string, *Tally]
}

func (t *tallies) add(tenant string, s State, prompt, completion int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known, _ = lru.New[string, *Tally](maxTallies) // the size is positive
	}
	one, ok := t.known.Get(tenant)
	if !ok {
		one = new(Tally)
		t.known.Add(tenant, one)
	}
	for _, to := range [2]*Tally{one, &t.all} {
		switch s {
		case Hit:
			to.Hits++
		case HitSemantic:
			to.Hits++
			to.Semantic++
		case Stale:
			to.Stale++
		case Miss:
			to.Misses++
		case Bypass:
			to.Bypasses++
		}
		to.Prompt += prompt
		to.Completion += completion
	}
}

func (t *tallies) of(tenant string) Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tenant == AllTenants {
		return t.all
	}
	if t.known == nil {
		return Tally{}
	}
	if one, ok := t.known.Peek(tenant); ok {
		return *one
	}
	return Tally{}
}
