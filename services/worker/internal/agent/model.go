package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/batch"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// model is one version that this worker has.
type model struct {
	digest string
	name   string
	spec   *commonv1.ModelSpec
	files  []engine.File
	gate   *gate
	turns  *semaphore.Weighted // of embedding without batching; set before the engine is
	series *series
	load   load
	counts atomic.Int64 // prompts that are being counted

	batcher   *batch.Batcher // of embedding
	adapter   engine.Adapter
	artifacts *artifact.Set

	cancel context.CancelFunc // ends the supervisor
	done   chan struct{}      // closed when the engine is gone

	// engine is set while requests can be served.
	engine atomic.Pointer[engine.Engine]

	mu sync.Mutex
	// plan is a guess, without a way to start, until the files are here.
	plan     *engine.Plan
	reserved map[string]int64 // of memory, by pool
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
	m.mu.Lock()
	defer m.mu.Unlock()
	return sum(m.reserved)
}

func sum(pools map[string]int64) int64 {
	var all int64
	for _, n := range pools {
		all += n
	}
	return all
}

// contextLength is the tokens of one slot, 0 when not known.
func (m *model) contextLength() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return firstOf(m.facts.ContextLength, m.plan.ContextLength)
}

// snapshot returns the model's state as it is told to a replica.
func (m *model) snapshot(replica string) *workerv1.LoadedModel {
	progress := fetchProgress(m.artifacts)
	m.mu.Lock()
	defer m.mu.Unlock()
	// Not before: a model that is ready has its slots.
	slots, active, queued, own := m.gate.load(replica)
	out := &workerv1.LoadedModel{
		Digest: m.digest, Name: m.name, Engine: m.spec.GetEngine(), Task: m.spec.GetTask(), State: m.state(),
		Error: m.status.Reason,
		Slots: int32(slots), Active: int32(active), Queued: int32(queued),
		MemoryBytes: sum(m.reserved), Restarts: int32(min(m.status.Restarts, 1<<30)),
		ContextLength:       int32(firstOf(m.facts.ContextLength, m.plan.ContextLength)),
		EmbeddingDimensions: int32(firstOf(m.facts.Dimensions, int(m.spec.GetEmbeddingDimensions()))),
		Fetch:               progress,
		Price:               priceOf(m.plan.Price),
	}
	if replica != "" {
		out.Own = proto.Int32(int32(own))
	}
	m.load.get().tell(out)
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
