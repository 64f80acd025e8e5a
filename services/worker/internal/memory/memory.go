// Package memory keeps account of the memories that models are loaded into, and
// says how much this machine has. Start reading at Pools.
package memory

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Unknown is a figure that is not known.
const Unknown = -1

// Pool is the account of one memory, in bytes.
type Pool struct {
	ID          string
	Total, Used int64
	// Measured is what the machine says is free, less what was set aside and is
	// not taken yet; Unknown when it does not say.
	Measured int64
	// Closed says why nothing more may be taken of it; empty when it may.
	Closed string
}

// Free is what may still be taken, by the account and by the machine; never
// negative.
func (p Pool) Free() int64 {
	free := p.Total - p.Used
	if p.Measured != Unknown {
		free = min(free, p.Measured)
	}
	if p.Closed != "" {
		free = 0
	}
	return max(free, 0)
}

// Shortage says what does not fit.
type Shortage struct {
	Pool
	// Needed is what was asked for, and Available what could have been had.
	Needed, Available int64
	// Known is false for a pool that this machine does not have.
	Known bool
}

// Pools is the memories of one machine. It is safe for concurrent use.
type Pools struct {
	mu    sync.Mutex
	pools map[string]Pool
}

// NewPools returns pools of the given sizes, by name.
func NewPools(totals map[string]int64) *Pools {
	p := &Pools{pools: make(map[string]Pool, len(totals))}
	for id, total := range totals {
		p.pools[id] = Pool{ID: id, Total: total, Measured: Unknown}
	}
	return p
}

// Reserve takes all of need, by pool, or nothing: it then returns the first
// shortage, by the pool's name.
func (p *Pools) Reserve(need map[string]int64) *Shortage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reserve(need)
}

func (p *Pools) reserve(need map[string]int64) *Shortage {
	for _, id := range slices.Sorted(maps.Keys(need)) {
		pool, known := p.pools[id]
		if n := need[id]; n > 0 && n > pool.Free() {
			pool.ID = id
			return &Shortage{Pool: pool, Needed: n, Available: pool.Free(), Known: known}
		}
	}
	p.add(need, 1)
	return nil
}

// Exchange gives back what Reserve took and takes all of need instead. When that
// does not fit, it returns the first shortage, and nothing is held any more.
func (p *Pools) Exchange(have, need map[string]int64) *Shortage {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(have, -1)
	return p.reserve(need)
}

// Release gives back what Reserve took.
func (p *Pools) Release(need map[string]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(need, -1)
}

// Grow notes that more was taken than was reserved, whether there is room or not:
// it is taken already.
func (p *Pools) Grow(id string, by int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, known := p.pools[id]; known {
		pool.Used += by
		p.pools[id] = pool
	}
}

func (p *Pools) add(need map[string]int64, sign int64) {
	for id, n := range need {
		pool, known := p.pools[id]
		if known {
			pool.Used += sign * n
			if pool.Measured != Unknown {
				pool.Measured -= sign * n
			}
			p.pools[id] = pool
		}
	}
}

// Measure notes what the machine says is free of a pool, Unknown when it does
// not say; unseen is what was reserved and does not show in that yet.
func (p *Pools) Measure(id string, free, unseen int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, known := p.pools[id]; known {
		if pool.Measured = Unknown; free != Unknown {
			pool.Measured = max(free-unseen, 0)
		}
		p.pools[id] = pool
	}
}

// Close says why nothing more may be taken of a pool; "" opens it again.
func (p *Pools) Close(id, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, known := p.pools[id]; known {
		pool.Closed = why
		p.pools[id] = pool
	}
}

// Ensure adds a pool that is not there yet.
func (p *Pools) Ensure(id string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.pools[id]; !known {
		p.pools[id] = Pool{ID: id, Total: total, Measured: Unknown}
	}
}

// List returns the pools by name.
func (p *Pools) List() []Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.pools), func(a, b Pool) int { return compareNames(a.ID, b.ID) })
}

// compareNames puts gpu2 before gpu10.
func compareNames(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }
