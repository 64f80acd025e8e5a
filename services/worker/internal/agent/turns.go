package agent

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// turns lets engines that measure a GPU's memory as they start do so alone: what
// another takes or gives back meanwhile they would count as theirs. The others
// start together. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	pools map[string]*semaphore.Weighted
}

// together bounds the engines that start on one GPU at the same time.
const together = 1 << 10

func (t *turns) of(pool string) *semaphore.Weighted {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.pools[pool]
	if !ok {
		if t.pools == nil {
			t.pools = make(map[string]*semaphore.Weighted)
		}
		s = semaphore.NewWeighted(together)
		t.pools[pool] = s
	}
	return s
}

// take waits until an engine may start on the GPUs; done, which may be called
// more than once, says that it has started, or is gone.
func (t *turns) take(ctx context.Context, gpus []engine.GPU, alone bool) (done func(), err error) {
	weight := int64(1)
	if alone {
		weight = together
	}
	pools := make([]string, len(gpus))
	for i, g := range gpus {
		pools[i] = g.Pool
	}
	slices.Sort(pools) // so that no two wait for each other
	var held []*semaphore.Weighted
	done = sync.OnceFunc(func() {
		for _, s := range held {
			s.Release(weight)
		}
	})
	for _, pool := range slices.Compact(pools) {
		s := t.of(pool)
		if s.Acquire(ctx, weight) != nil {
			done()
			return nil, context.Cause(ctx)
		}
		held = append(held, s)
	}
	return done, nil
}

// freeOf is what is free of the model's GPUs at this moment, by pool: as their
// driver says, or by the account where it does not.
func (a *Agent) freeOf(ctx context.Context, m *model) map[string]int64 {
	free, own := make(map[string]int64), m.share()
	for _, p := range a.parts.Pools.List() {
		free[p.ID] = p.Total - p.Used + own[p.ID]
	}
	if a.parts.GPUs == nil {
		return free
	}
	a.parts.GPUs.Refresh(ctx, 0)
	if a.parts.GPUs.Err() != nil {
		return free
	}
	for _, d := range a.devices() {
		if d.FreeBytes != gpu.Unknown {
			free[d.Pool()] = d.FreeBytes
		}
	}
	return free
}
