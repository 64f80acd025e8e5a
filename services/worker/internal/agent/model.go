package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/batch"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// model is one version that this worker has.
type model struct {
	digest string
	name   string
	spec   *commonv1.ModelSpec
	plan   *engine.Plan
	files  []engine.File
	gate   *gate
	turns  *semaphore.Weighted // of embedding without batching
	series *series

	batcher *batch.Batcher // of embedding

	cancel context.CancelFunc // ends the supervisor
	done   chan struct{}      // closed when the engine is gone

	// engine is set while requests can be served.
	engine atomic.Pointer[engine.Engine]

	mu       sync.Mutex
	status   supervise.Status
	facts    engine.Facts
	draining bool
}

// running returns the engine, or nil while there is none.
func (m *model) running() engine.Engine {
	if e := m.engine.Load(); e != nil {
		return *e
	}
	return nil
}

// set notes what the supervisor reports.
func (m *model) set(s supervise.Status, e engine.Engine, facts engine.Facts) {
	m.mu.Lock()
	m.status = s
	if s.State == supervise.Ready {
		m.facts = facts
	}
	m.mu.Unlock()
	if e == nil {
		m.engine.Store(nil)
		return
	}
	m.gate.resize(facts.Slots)
	m.engine.Store(&e)
}

// drain notes that the model is going, and reports whether it was before.
func (m *model) drain() (before bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, m.draining = m.draining, true
	return before
}

func (m *model) isDraining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}

// memory is what the model takes, of all pools, in bytes.
func (m *model) memory() int64 {
	var sum int64
	for _, n := range m.plan.MemoryBytes {
		sum += n
	}
	return sum
}

// contextLength is the tokens of one slot, 0 when not known.
func (m *model) contextLength() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return firstOf(m.facts.ContextLength, m.plan.ContextLength)
}

// snapshot returns the model's state as it is told.
func (m *model) snapshot() *workerv1.LoadedModel {
	slots, active, queued := m.gate.load()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &workerv1.LoadedModel{
		Digest: m.digest, Name: m.name, Engine: m.spec.GetEngine(), Task: m.spec.GetTask(), State: m.state(),
		Error: m.status.Reason,
		Slots: int32(slots), Active: int32(active), Queued: int32(queued),
		MemoryBytes: m.memory(), Restarts: int32(min(m.status.Restarts, 1<<30)),
		ContextLength:       int32(firstOf(m.facts.ContextLength, m.plan.ContextLength)),
		EmbeddingDimensions: int32(firstOf(m.facts.Dimensions, int(m.spec.GetEmbeddingDimensions()))),
	}
	return out
}

func (m *model) state() workerv1.ModelState {
	switch {
	case m.draining:
		return workerv1.ModelState_MODEL_STATE_DRAINING
	case m.status.State == supervise.Ready:
		return workerv1.ModelState_MODEL_STATE_READY
	case m.status.State == supervise.Failed:
		return workerv1.ModelState_MODEL_STATE_FAILED
	}
	return workerv1.ModelState_MODEL_STATE_LOADING
}

func firstOf(values ...int) int {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}
