package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/gpu"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// Machine is what this machine tells of its main memory.
type Machine interface {
	// Available is what may still be taken of it.
	Available() (int64, error)
	// Usages is what groups of processes take; those not known are left out.
	Usages(groups []int) map[int]process.Usage
}

// Run looks at the machine from time to time, until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	var asked sync.WaitGroup
	asked.Go(func() { a.askQuantizer(ctx) })
	defer asked.Wait()
	for clock.Sleep(ctx, a.parts.Clock, a.cfg.SampleEvery) == nil {
		a.look(ctx)
		a.hub.loadChanged()
	}
	return nil
}

// look samples when no load is being decided.
func (a *Agent) look(ctx context.Context) {
	if a.loading.Acquire(ctx, 1) != nil {
		return
	}
	defer a.loading.Release(1)
	a.sample(ctx, 0)
}

// sample asks the machine what is free and what the models take; the GPUs, which
// take long to ask, only when their figures are older than age. a.loading is
// held: what is being admitted meanwhile would be missed.
func (a *Agent) sample(ctx context.Context, age time.Duration) {
	if a.parts.GPUs != nil {
		a.parts.GPUs.Refresh(ctx, age)
	}
	models := a.list()
	visible := a.observe(ctx, models)
	unseen := make(map[string]int64)
	for _, m := range models {
		for id, n := range m.share() {
			unseen[id] += max(n-visible[m][id], 0)
		}
	}
	if a.parts.Machine != nil {
		unseen[engine.PoolCPU] += a.unseenByQuantizing()
		free, err := a.parts.Machine.Available()
		if err != nil {
			free = memory.Unknown
		}
		a.parts.Pools.Measure(engine.PoolCPU, free, unseen[engine.PoolCPU])
	}
	for _, d := range a.devices() {
		if !a.cfg.FixedGPUs {
			a.parts.Pools.Ensure(d.Pool(), d.TotalBytes)
		}
		a.parts.Pools.Measure(d.Pool(), d.FreeBytes, unseen[d.Pool()])
		a.parts.Pools.Close(d.Pool(), a.parts.GPUs.Problem(d))
	}
}

// observe notes what each model takes, and returns how much of that shows in what
// the machine says is free, by pool.
func (a *Agent) observe(ctx context.Context, models []*model) map[*model]map[string]int64 {
	var groups []int
	for _, m := range models {
		if pid := m.pid(); pid > 0 {
			groups = append(groups, pid)
		}
	}
	var usages map[int]process.Usage
	if a.parts.Machine != nil {
		usages = a.parts.Machine.Usages(groups)
	}
	devices := a.devices()
	out := make(map[*model]map[string]int64, len(models))
	for _, m := range models {
		usage, known := usages[m.pid()]
		shows := make(map[string]int64)
		seen := make(map[string]int64)
		if known {
			// Pages of files count as available, so only the others show.
			shows[engine.PoolCPU], seen[engine.PoolCPU] = usage.Anonymous, usage.Total()
		}
		for _, g := range m.gpus {
			n := onDevice(devices, g.Pool, usage.PIDs)
			seen[g.Pool] = n
			if shows[g.Pool] = n; n == 0 && m.running() != nil {
				// The driver names processes as the machine numbers them, which a container
				// cannot tell. An engine that serves has taken what it takes.
				shows[g.Pool] = m.share()[g.Pool]
			}
		}
		out[m] = shows
		for id, by := range m.noteSeen(seen) {
			a.parts.Pools.Grow(id, by)
			a.log.WarnContext(ctx, "model takes more memory than was set aside", slog.String(keyModel, m.name),
				slog.String(keyPool, id), slog.Int64(keyMemory, seen[id]))
		}
	}
	return out
}

// onDevice is what the processes take of the device whose pool is named.
func onDevice(devices []gpu.Device, pool string, pids []int) int64 {
	mine := make(map[int]bool, len(pids))
	for _, pid := range pids {
		mine[pid] = true
	}
	var sum int64
	for _, d := range devices {
		if d.Pool() != pool {
			continue
		}
		for _, p := range d.Processes {
			if mine[p.PID] {
				sum += max(p.Bytes, 0)
			}
		}
	}
	return sum
}

// learn keeps what a model was seen to take for the next load of its version. One
// that never served says nothing.
func (a *Agent) learn(m *model) {
	if a.parts.Learned == nil || !m.served.Load() {
		return
	}
	estimates, peaks := make(map[string]int64), make(map[string]int64)
	greedy := len(m.gpus) > 0 && m.gpus[0].Bytes > 0
	for id, n := range m.plan.MemoryBytes {
		class := classOf(id, greedy)
		estimates[class] = max(estimates[class], n)
		peaks[class] = max(peaks[class], m.peakOf(id))
	}
	for class, n := range estimates {
		err := a.parts.Learned.Observe(lesson(m.digest, class, len(m.gpus)), n, peaks[class], a.parts.Clock.Now())
		if err != nil {
			a.log.Warn("what the model took is not kept", slog.String(keyModel, m.name), slog.Any("error", err))
		}
	}
}
