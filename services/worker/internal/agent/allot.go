package agent

import (
	"slices"

	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Some engines take all that they are allowed to of a GPU (engine.Size.Greedy).
// They are told how much that is, and so much is set aside from the start: what
// one has not taken yet as it loads is then never another's.

// headroom is the part of what such an engine needs at least that it is given
// besides, where there is as much.
const headroom = 10

// device is the GPU of that pool.
func (c *candidate) device(pool string) engine.GPU {
	g := c.devices[pool]
	g.Pool = pool
	return g
}

// needs is what the model takes of a GPU, as one of n.
func (c *candidate) needs(pool string, n int) int64 {
	return int64(float64(c.size.PerGPU(n)) * c.ratio(pool, n))
}

// least is what must be free of a GPU, as one of n, for the model to go there.
func (c *candidate) least(pool string, n int) int64 {
	return max(c.needs(pool, n), int64(c.size.OfTotal*float64(c.devices[pool].Total)))
}

// allot sets aside what a greedy engine is given of each of its GPUs, the same of
// all, and tells it so. What earlier loads took beyond that is set aside besides.
func (r room) allot(c *candidate, at spot) {
	if !c.size.Greedy {
		return
	}
	n := len(at.gpus)
	gives := make([]int64, n)
	for i, g := range at.gpus {
		free, needs := r.free[g.Pool], c.needs(g.Pool, n)
		gives[i] = max(c.least(g.Pool, n), min(needs+needs/headroom, free), int64(c.size.OfFree*float64(free)))
	}
	give := slices.Min(gives)
	for i := range at.gpus {
		g := &at.gpus[i]
		// What the spec says of each whole GPU differs where the GPUs do.
		at.need[g.Pool] = max(give, c.least(g.Pool, n))
		g.Bytes = int64(float64(at.need[g.Pool]) / c.ratio(g.Pool, n))
	}
}
