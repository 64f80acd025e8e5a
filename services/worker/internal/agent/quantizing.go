package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/quantize"
)

// quantizing is a quantisation that runs: at most one. It is safe for concurrent
// use.
type quantizing struct {
	ctx      context.Context //nolint:containedctx // that of one call, which can be ended
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when nothing of it is left
	changed  chan struct{} // of the phase
	reserved atomic.Int64  // of the main memory
	child    atomic.Int64  // process id; 0 when there is none

	mu      sync.Mutex
	files   *artifact.Set // while they are fetched
	phase   quantize.Phase
	percent int
}

func newQuantizing(ctx context.Context) *quantizing {
	j := &quantizing{done: make(chan struct{}), changed: make(chan struct{}, 1), percent: quantize.Unknown}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	return j
}

// beginQuantizing notes that it runs, unless the agent is ending.
func (a *Agent) beginQuantizing(j *quantizing) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return errDraining()
	}
	a.quantizing = j
	return nil
}

// endQuantizing gives back what it held.
func (a *Agent) endQuantizing(j *quantizing) {
	j.cancel(nil)
	if n := j.reserved.Swap(0); n > 0 {
		a.parts.Pools.Release(map[string]int64{engine.PoolCPU: n})
	}
	a.mu.Lock()
	a.quantizing = nil
	a.mu.Unlock()
	close(j.done)
	a.hub.changed()
}

// currentQuantizing is the one that runs; nil when none does.
func (a *Agent) currentQuantizing() *quantizing {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.quantizing
}

// cutQuantizing ends the one that runs, if any, and returns when it is gone.
func (a *Agent) cutQuantizing() {
	if j := a.currentQuantizing(); j != nil {
		j.cancel(errDraining())
		<-j.done
	}
}

// reserveFor takes memory of the worker's account, as for a model.
func (a *Agent) reserveFor(ctx context.Context, j *quantizing, name string, bytes int64) error {
	if a.loading.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	defer a.loading.Release(1)
	a.sample(ctx, freshEnough)
	if short := a.parts.Pools.Reserve(map[string]int64{engine.PoolCPU: bytes}); short != nil {
		return tooLarge("quantising "+name, short)
	}
	j.reserved.Store(bytes)
	a.hub.changed()
	return nil
}

// unseenByQuantizing is what was set aside for it and does not show yet in what
// the machine says is free.
func (a *Agent) unseenByQuantizing() int64 {
	j := a.currentQuantizing()
	if j == nil {
		return 0
	}
	reserved := j.reserved.Load()
	if pid := int(j.child.Load()); pid > 0 && reserved > 0 {
		reserved -= a.parts.Machine.Usages([]int{pid})[pid].Anonymous
	}
	return max(reserved, 0)
}

func (j *quantizing) started(pid int) { j.child.Store(int64(pid)) }

// fetches says that files are being fetched; nil that they are here.
func (j *quantizing) fetches(files *artifact.Set) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.files = files
	wake(j.changed)
}

// report notes where it is.
func (j *quantizing) report(phase quantize.Phase, percent int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.phase != phase {
		wake(j.changed)
	}
	j.phase, j.percent = phase, percent
}

// progress is where it is, as it is told.
func (j *quantizing) progress() *workerv1.QuantizeProgress {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.files == nil && j.phase != 0 {
		return &workerv1.QuantizeProgress{Phase: phaseOf(j.phase), Percent: int32(j.percent)}
	}
	out := &workerv1.QuantizeProgress{Phase: workerv1.QuantizePhase_QUANTIZE_PHASE_FETCHING, Percent: quantize.Unknown}
	if j.files != nil {
		if p, ok := j.files.Progress(); ok && p.Total > 0 {
			out.Percent = int32(min(p.Done*100/p.Total, 100))
		}
	}
	return out
}

func phaseOf(p quantize.Phase) workerv1.QuantizePhase {
	switch p {
	case quantize.MeasuringSource:
		return workerv1.QuantizePhase_QUANTIZE_PHASE_MEASURING_SOURCE
	case quantize.Quantizing:
		return workerv1.QuantizePhase_QUANTIZE_PHASE_QUANTIZING
	case quantize.Measuring:
		return workerv1.QuantizePhase_QUANTIZE_PHASE_MEASURING
	case quantize.Storing:
		return workerv1.QuantizePhase_QUANTIZE_PHASE_STORING
	}
	return workerv1.QuantizePhase_QUANTIZE_PHASE_UNSPECIFIED
}

// quantizeOutcome is the label of the counter.
func quantizeOutcome(err error) string {
	if err == nil {
		return outcomeOK
	}
	return string(apierr.ReasonOf(err))
}
