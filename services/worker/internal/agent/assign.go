package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/memory"
)

// room is what could be taken of each memory, and how many models more.
type room struct {
	pools  []memory.Pool // by name
	free   map[string]int64
	models int
}

// room returns what may be taken now.
func (a *Agent) room() room {
	r := room{pools: a.parts.Pools.List(), free: make(map[string]int64), models: a.cfg.MaxModels - len(a.list())}
	for _, p := range r.pools {
		r.free[p.ID] = p.Free()
	}
	return r
}

// roomFor returns what the candidate may take: also what it has already.
func (a *Agent) roomFor(c *candidate) room {
	r := a.room()
	a.mu.RLock()
	listed := a.models[c.model.digest] == c.model
	a.mu.RUnlock()
	if listed {
		r = r.without(c.model)
	}
	return r
}

// without returns the room once m is gone too.
func (r room) without(m *model) room {
	free := maps.Clone(r.free)
	for id, n := range m.share() {
		// What a closed pool gives back cannot be taken.
		if i := slices.IndexFunc(r.pools, func(p memory.Pool) bool { return p.ID == id }); i >= 0 && r.pools[i].Closed == "" {
			free[id] += n
		}
	}
	return room{pools: r.pools, free: free, models: r.models + 1}
}

// spot is where a model would go.
type spot struct {
	need map[string]int64
	gpus []engine.GPU
}

// place returns where the candidate fits, or an error with figures.
func (r room) place(c *candidate) (spot, error) {
	if r.models <= 0 {
		return spot{}, apierr.New(apierr.FailedPrecondition, "this worker has %d models, and takes no more", c.limit).
			WithMetadata("models", strconv.Itoa(c.limit))
	}
	if c.plan == nil && c.size.Shared == 0 {
		return r.guess(c)
	}
	if c.size.Shared > 0 {
		return r.spread(c)
	}
	// The spec of some engines says itself which GPU it is.
	var gpus []engine.GPU
	for _, id := range memory.Names(c.plan.MemoryBytes) {
		if strings.HasPrefix(id, gpuPrefix) {
			gpus = append(gpus, c.device(id))
		}
	}
	need := c.corrected(c.plan.MemoryBytes, len(gpus))
	if short := r.short(need); short != nil {
		return spot{}, tooLarge(c.model.name, short)
	}
	return spot{need: need, gpus: gpus}, nil
}

// guess places a model whose files are not here: what they take, in the memories
// that have most free. A model that would not fit into all of them together is
// refused before its files are fetched.
func (r room) guess(c *candidate) (spot, error) {
	total := c.model.artifacts.SizeBytes()
	need, left := make(map[string]int64), total
	pools := slices.Clone(r.pools)
	slices.SortStableFunc(pools, func(x, y memory.Pool) int { return cmp.Compare(r.free[y.ID], r.free[x.ID]) })
	for _, p := range pools {
		if take := min(left, r.free[p.ID]); take > 0 {
			need[p.ID] = take
			left -= take
		}
	}
	if left > 0 {
		return spot{}, apierr.New(apierr.FailedPrecondition, "the files of %s have %s, and this worker's memories together %s free",
			c.model.name, config.Bytes(total).InMiB(), config.Bytes(total-left).InMiB()).
			WithMetadata("needed_bytes", strconv.FormatInt(total, 10)).WithMetadata("free_bytes", strconv.FormatInt(total-left, 10))
	}
	return spot{need: need}, nil
}

// short returns the first memory that has less than is needed, or nil.
func (r room) short(need map[string]int64) *memory.Shortage {
	for _, id := range memory.Names(need) {
		i := slices.IndexFunc(r.pools, func(p memory.Pool) bool { return p.ID == id })
		if n := need[id]; n > 0 && (i < 0 || n > r.free[id]) {
			s := &memory.Shortage{Pool: memory.Pool{ID: id, Measured: memory.Unknown}, Needed: n, Known: i >= 0, Available: r.free[id]}
			if i >= 0 {
				s.Pool = r.pools[i]
			}
			return s
		}
	}
	return nil
}

// spread finds the fewest GPUs that hold the model: of those with room, the ones
// with the least, so that large holes stay for large models; between equals the
// lower numbers, which are often neighbours.
func (r room) spread(c *candidate) (spot, error) {
	ids := r.gpus()
	slices.SortStableFunc(ids, func(x, y string) int { return cmp.Compare(r.free[x], r.free[y]) })
	tried := 0
	for n := 1; n <= len(ids); n++ {
		if !c.size.Splits(n) {
			continue
		}
		tried = n
		fitting := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return r.free[id] < c.least(id, n) })
		if len(fitting) < n {
			continue
		}
		chosen := fitting[:n]
		slices.SortFunc(chosen, func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)) })
		gpus := make([]engine.GPU, n)
		for i, id := range chosen {
			gpus[i] = c.device(id)
		}
		at := spot{need: c.corrected(c.size.On(gpus), n), gpus: gpus}
		if short := r.short(at.need); short != nil {
			return spot{}, tooLarge(c.model.name, short)
		}
		r.allot(c, at)
		return at, nil
	}
	return spot{}, r.tooLargeForGPUs(c, tried)
}

// gpus are the names of the GPUs' pools, lower numbers first.
func (r room) gpus() []string {
	var out []string
	for _, p := range r.pools {
		if strings.HasPrefix(p.ID, gpuPrefix) {
			out = append(out, p.ID)
		}
	}
	return out
}

const gpuPrefix = "gpu"

// tooLargeForGPUs says what each of n GPUs would need, n being the most that the
// model can be spread over here, and what there is.
func (r room) tooLargeForGPUs(c *candidate, n int) error {
	ids := r.gpus()
	if n == 0 {
		return apierr.New(apierr.FailedPrecondition, "%s cannot be spread over any number of this worker's %d GPUs: "+
			"it has %d attention heads, and asks for %d GPUs", c.model.name, len(ids), c.size.Heads, c.size.Exactly)
	}
	var each int64
	for _, id := range ids {
		each = max(each, c.least(id, n))
	}
	var figures []string
	var most int64
	for _, id := range ids {
		most = max(most, r.free[id])
		what := fmt.Sprintf("%s has %s", id, config.Bytes(r.free[id]).InMiB())
		if i := slices.IndexFunc(r.pools, func(p memory.Pool) bool { return p.ID == id }); r.pools[i].Closed != "" {
			what = id + " is not used"
		}
		figures = append(figures, what)
	}
	return apierr.New(apierr.FailedPrecondition, "%s needs %s free on each of %d GPUs; %s", c.model.name, config.Bytes(each).InMiB(), n, strings.Join(figures, ", ")).
		WithMetadata("pool", gpuPrefix).WithMetadata("gpus", strconv.Itoa(n)).
		WithMetadata("needed_bytes", strconv.FormatInt(each, 10)).WithMetadata("free_bytes", strconv.FormatInt(most, 10))
}

// devicesOf returns the GPUs by their pools, as an engine is told of them.
func (a *Agent) devicesOf() map[string]engine.GPU {
	out := make(map[string]engine.GPU)
	for _, p := range a.parts.Pools.List() {
		if index, is := strings.CutPrefix(p.ID, gpuPrefix); is {
			out[p.ID] = engine.GPU{Pool: p.ID, Device: index, Total: p.Total}
		}
	}
	for _, d := range a.devices() {
		g := out[d.Pool()]
		g.Pool = d.Pool()
		if d.UUID != "" {
			g.Device = d.UUID
		}
		if d.TotalBytes > 0 {
			g.Total = d.TotalBytes // the account may have less
		}
		out[g.Pool] = g
	}
	return out
}

// devices are the GPUs as they were seen last.
func (a *Agent) devices() []gpu.Device {
	if a.parts.GPUs == nil {
		return nil
	}
	return a.parts.GPUs.Devices()
}
