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

// Pool is the account of one memory, in bytes.
type Pool struct {
	ID          string
	Total, Used int64
}

// Free is what may still be taken; never negative.
func (p Pool) Free() int64 { return max(p.Total-p.Used, 0) }

// Shortage says what does not fit.
type Shortage struct {
	Pool
	// Needed is what was asked for.
	Needed int64
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
		p.pools[id] = Pool{ID: id, Total: total}
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
			return &Shortage{Pool: Pool{ID: id, Total: pool.Total, Used: pool.Used}, Needed: n, Known: known}
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

func (p *Pools) add(need map[string]int64, sign int64) {
	for id, n := range need {
		pool, known := p.pools[id]
		if known {
			pool.Used += sign * n
			p.pools[id] = pool
		}
	}
}

// List returns the pools by name.
func (p *Pools) List() []Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.pools), func(a, b Pool) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), strings.Compare(a.ID, b.ID)) // gpu2 before gpu10
	})
}
