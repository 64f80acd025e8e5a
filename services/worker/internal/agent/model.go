package agent

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/batch"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// model is one version that this worker has.
type model struct {
	digest   string
	name     string
	spec     *commonv1.ModelSpec
	files    []engine.File
	adapters [][]engine.File // files of the spec's adapters
	gate     *gate
	turns    *semaphore.Weighted // of embedding without batching; set before the engine is
	series   *series
	load     load
	counts   atomic.Int64 // prompts that are being counted

	batcher   *batch.Batcher // of embedding
	adapter   engine.Adapter
	artifacts *artifact.Set

	warmUp bool
	evict  bool // it may drive others out

	cancel context.CancelFunc // ends the supervisor
	done   chan struct{}      // closed when the engine is gone

	// life is set while requests can be served.
	life   atomic.Pointer[instance]
	child  atomic.Int64 // process id; 0 when there is none
	pinned atomic.Bool
	served atomic.Bool  // it was ready once
	used   atomic.Int64 // Unix nanoseconds

	mu sync.Mutex
	// plan is a guess, without a way to start, until the files are here.
	plan     *engine.Plan
	reserved map[string]int64 // of memory, by pool; nil when nothing is
	// estimated is what it was thought to take, of all pools.
	estimated int64
	gpus      []engine.GPU
	status    supervise.Status
	facts     engine.Facts
	draining  bool
	peak      map[string]int64 // seen, by pool
}

// running returns the present life of the engine, or nil while there is none.
func (m *model) running() *instance { return m.life.Load() }

// pid is the engine's process id; 0 while there is none.
func (m *model) pid() int { return int(m.child.Load()) }

// touch notes that the model was used.
func (m *model) touch(now time.Time) { m.used.Store(now.UnixNano()) }

func (m *model) lastUsed() time.Time { return time.Unix(0, m.used.Load()) }

// starting reports whether the engine is just starting, or its files are being
// fetched.
func (m *model) starting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status.State == supervise.Starting
}

// share is what is set aside for the model, by pool.
func (m *model) share() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.reserved)
}

// placed are the GPUs that the model was given.
func (m *model) placed() []engine.GPU {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gpus
}

// noteSeen notes what the model was seen to take, and returns by how much that
// is more than was set aside, which it now is.
func (m *model) noteSeen(seen map[string]int64) (more map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reserved == nil {
		return nil // it is going
	}
	for id, n := range seen {
		m.peak[id] = max(m.peak[id], n)
		if by := n - m.reserved[id]; by > 0 {
			if more == nil {
				more = make(map[string]int64)
			}
			more[id] = by
			m.reserved[id] = n
		}
	}
	return more
}

func (m *model) peakOf(pool string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peak[pool]
}

// set notes what the supervisor reports.
func (m *model) set(s supervise.Status, life *instance, facts engine.Facts) {
	m.mu.Lock()
	m.status = s
	if s.State == supervise.Ready {
		m.facts = facts
	}
	m.mu.Unlock()
	m.life.Store(life)
	if life != nil {
		m.gate.resize(facts.Slots)
		m.served.Store(true)
	}
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
func (m *model) memory() int64 { return sum(m.share()) }

func sum(figures map[string]int64) int64 {
	var all int64
	for _, n := range figures {
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
	used := m.lastUsed()
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
		Pinned:              m.pinned.Load(), EstimatedMemoryBytes: m.estimated, PeakMemoryBytes: sum(m.peak),
		Fetch: progress, Price: priceOf(m.plan.Price),
	}
	if m.served.Load() {
		out.LastUsedTime = timestamppb.New(used)
	}
	if out.GetState() == workerv1.ModelState_MODEL_STATE_FAILED && !m.status.Next.IsZero() {
		out.RestartTime, out.RestartPause = timestamppb.New(m.status.Next), durationpb.New(m.status.Pause)
	}
	for _, id := range memory.Names(m.reserved) {
		out.Memory = append(out.Memory, &workerv1.PoolShare{Id: id, Bytes: m.reserved[id]})
	}
	if replica != "" {
		out.Own = new(int32(own))
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
