// Package poison remembers requests under which engines ended, and refuses one
// that ended several. It sees no request, only a number that stands for it; start
// reading at Guard.
package poison

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// The metadata by which a worker says that the engine ended under a request, and
// how many requests it had then.
const (
	metadataEngineEnded = "engine_ended"
	metadataInFlight    = "in_flight"
)

// Config is the section "poison".
type Config struct {
	// Engines is how many engines a request must have ended to be refused; 0
	// refuses none.
	Engines int `yaml:"engines"`
	// Among is with how many others at most it must have been in flight each time
	// for the end to be held against it: among many nobody can tell.
	Among int `yaml:"among"`
	// For is how long it is refused, and for how long an end is held against it.
	For time.Duration `yaml:"for"`
	// Max bounds the requests that are remembered; the oldest are forgotten.
	Max int `yaml:"max"`
}

// Guard remembers. What it knows is its own replica's: a request may end as many
// engines once more through another one. It is safe for concurrent use, and
// costs one atomic load while nothing is held against anybody.
type Guard struct {
	cfg   Config
	clock clock.Clock
	held  atomic.Int64 // entries

	mu      sync.Mutex
	entries map[uint64]*entry
	order   []uint64 // from the oldest; may name what is gone
}

type entry struct {
	ends  int
	lives map[uint32]bool // of engines that ended
	until time.Time
}

// New returns a guard that holds nothing against anybody.
func New(cfg Config, c clock.Clock) *Guard {
	return &Guard{cfg: cfg, clock: c, entries: make(map[uint64]*entry)}
}

// Check returns an error for a request that ended too many engines. mark stands
// for the request and is called only when anything is held against any.
func (g *Guard) Check(mark func() uint64) error {
	if g == nil || g.held.Load() == 0 || mark == nil {
		return nil
	}
	key, now := mark(), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[key]
	if e == nil || e.ends < g.cfg.Engines {
		return nil
	}
	if left := e.until.Sub(now); left > 0 {
		return refusal(e.ends, left)
	}
	g.forget(key)
	return nil
}

// Ended notes what became of a request on one engine. life names the engine from
// one start to the next: requests that look alike and were in its hands together
// saw one end, and not several. It returns an error when the request must not be
// given to another one.
func (g *Guard) Ended(mark func() uint64, life uint32, err error) error {
	if g == nil || g.cfg.Engines == 0 || mark == nil {
		return nil
	}
	if err == nil {
		g.passed(mark)
		return nil
	}
	e := apierr.From(err)
	if e.Metadata[metadataEngineEnded] != "true" {
		return nil
	}
	if n, bad := strconv.Atoi(e.Metadata[metadataInFlight]); bad != nil || n < 1 || n > g.cfg.Among+1 {
		return nil
	}
	key, now := mark(), g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.entries[key]
	if held == nil || !now.Before(held.until) {
		held = &entry{lives: make(map[uint32]bool)}
		g.add(key, held)
	}
	if !held.lives[life] {
		held.lives[life] = true
		held.ends++
	}
	held.until = now.Add(g.cfg.For)
	if held.ends < g.cfg.Engines {
		return nil
	}
	return refusal(held.ends, g.cfg.For)
}

// passed clears a request that was answered: the end was another's doing.
func (g *Guard) passed(mark func() uint64) {
	if g.held.Load() == 0 {
		return
	}
	key := mark()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(key)
}

// Held returns how many requests are remembered.
func (g *Guard) Held() int64 { return g.held.Load() }

func (g *Guard) add(key uint64, e *entry) {
	if _, known := g.entries[key]; !known {
		g.order = append(g.order, key)
	}
	g.entries[key] = e
	for len(g.entries) > g.cfg.Max || len(g.order) > 2*g.cfg.Max {
		oldest := g.order[0]
		g.order = g.order[1:]
		if oldest != key {
			delete(g.entries, oldest)
		}
	}
	g.held.Store(int64(len(g.entries)))
}

func (g *Guard) forget(key uint64) {
	delete(g.entries, key)
	if len(g.entries) == 0 {
		g.order = nil
	}
	g.held.Store(int64(len(g.entries)))
}

func refusal(ends int, left time.Duration) error {
	return apierr.New(apierr.FailedPrecondition, "this request was in hand when %d engines ended, and is not given to another for %v: change it",
		ends, left.Round(time.Second)).WithMetadata("engines_ended", strconv.Itoa(ends))
}
