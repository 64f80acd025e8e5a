package routing

import (
	"time"

	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// scanLimit is the number of copies up to which all are compared; above it two
// are drawn at random (Mitzenmacher, "The Power of Two Choices in Randomized
// Load Balancing", 2001), which spreads nearly as well at a fixed cost.
const scanLimit = 8

// drawTries bounds how often a draw that fell on an excluded copy is repeated
// before all copies are compared after all.
const drawTries = 4

// Picker chooses the copy that gets a request. It is safe for concurrent use.
type Picker struct {
	// Now is the present, asked only for workers that failed of late.
	Now func() time.Time
	// Random returns 64 random bits and is safe for concurrent use.
	Random func() uint64
}

// Pick returns the copy with the least load per slot that was not tried, or nil
// when all were. Between equals the key decides, so that one caller's requests
// meet the same prefix cache while the workers are idle, and all replicas
// choose alike. Workers that could not be reached of late come last.
func (p *Picker) Pick(copies, tried []*fleet.Copy, key string) *fleet.Copy {
	if len(copies) > scanLimit {
		if c := p.draw(copies, tried, key); c != nil {
			return c
		}
	}
	var best, cooling *fleet.Copy
	for _, c := range copies {
		switch {
		case was(tried, c):
		case c.Worker().Cooling(p.Now):
			cooling = better(cooling, c, key)
		default:
			best = better(best, c, key)
		}
	}
	if best == nil {
		return cooling
	}
	return best
}

// draw compares two copies drawn at random; nil when the draws met too many
// that are excluded.
func (p *Picker) draw(copies, tried []*fleet.Copy, key string) *fleet.Copy {
	var best *fleet.Copy
	found := 0
	for range drawTries {
		c := copies[p.Random()%uint64(len(copies))]
		if c == best || was(tried, c) || c.Worker().Cooling(p.Now) {
			continue
		}
		best = better(best, c, key)
		if found++; found == 2 {
			return best
		}
	}
	return nil
}

func was(tried []*fleet.Copy, c *fleet.Copy) bool {
	for _, t := range tried {
		// A worker that was found again is the same machine.
		if t == c || t.Worker() == c.Worker() {
			return true
		}
	}
	return false
}

// better returns the one of a and b that should get the request; a may be nil.
func better(a, b *fleet.Copy, key string) *fleet.Copy {
	if a == nil {
		return b
	}
	aLoad, aSlots := a.Load()
	bLoad, bSlots := b.Load()
	switch left, right := (aLoad+1)*bSlots, (bLoad+1)*aSlots; {
	case left < right:
		return a
	case left > right:
		return b
	}
	if Rendezvous(key, b.Worker().ID()) > Rendezvous(key, a.Worker().ID()) {
		return b
	}
	return a
}

// The parameters of 64-bit FNV-1a (Fowler, Noll, Vo).
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// Rendezvous is the weight of a worker for a key: the worker with the largest
// one is chosen (Thaler and Ravishankar, "A Name-Based Mapping Scheme for
// Rendezvous", 1996). It is FNV-1a with the final mixing of MurmurHash3, without
// which FNV's high bits hardly depend on the last bytes.
func Rendezvous(key, worker string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * fnvPrime
	}
	h *= fnvPrime // a zero byte between the two
	for i := range len(worker) {
		h = (h ^ uint64(worker[i])) * fnvPrime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
