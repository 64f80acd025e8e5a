package agent

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
)

// A model whose files are on this machine is planned, and admitted or refused,
// at once. One whose files must be fetched is admitted by their sizes, which is
// less than it will take, and planned when they are here; if it turns out not to
// fit then, it has failed, and is tried again as an engine that fails is.

// prepare fetches what is missing, sees that all files are right, and returns
// how the model is served.
func (a *Agent) prepare(ctx context.Context, m *model) (*engine.Plan, error) {
	if !m.artifacts.Present() {
		a.hub.changed()
		defer a.hub.changed()
	}
	if err := m.artifacts.Ensure(ctx); err != nil {
		return nil, err
	}
	if plan := m.settled(); plan != nil {
		return plan, nil
	}
	if err := a.settle(ctx, m); err != nil {
		// What cannot be served holds no memory.
		_ = a.hold(m, nil)
		return nil, err
	}
	if short := a.hold(m, m.need()); short != nil {
		m.unsettle()
		return nil, tooLarge(m, short)
	}
	return m.settled(), nil
}

// settle plans the model by its files.
func (a *Agent) settle(ctx context.Context, m *model) error {
	plan, err := m.adapter.Plan(ctx, engine.Model{Name: m.name, Spec: m.spec, Files: m.files})
	if err != nil {
		return err
	}
	m.turns = a.cfg.Embedding.turns(plan.Slots)
	m.gate.allow(plan.Slots, plan.MaxInFlight)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan = plan
	return nil
}

// guess plans a model whose files are not here: what they take, in the memories
// that have most free. A model that would not fit into all of them together is
// refused before its files are fetched.
func (a *Agent) guess(m *model) error {
	total := m.artifacts.SizeBytes()
	need, left := make(map[string]int64), total
	pools := a.parts.Pools.List()
	slices.SortStableFunc(pools, func(x, y memory.Pool) int { return cmp.Compare(y.Free(), x.Free()) })
	for _, p := range pools {
		if take := min(left, p.Free()); take > 0 {
			need[p.ID] = take
			left -= take
		}
	}
	if left > 0 {
		return apierr.New(apierr.FailedPrecondition, "the files of %s have %s, and this worker's memories together %s free",
			m.name, size(total), size(total-left)).
			WithMetadata("needed_bytes", strconv.FormatInt(total, 10)).WithMetadata("free_bytes", strconv.FormatInt(total-left, 10))
	}
	m.plan = &engine.Plan{MemoryBytes: need}
	return nil
}

// hold reserves need in place of what is reserved for the model.
func (a *Agent) hold(m *model, need map[string]int64) *memory.Shortage {
	m.mu.Lock()
	defer m.mu.Unlock()
	short := a.parts.Pools.Exchange(m.reserved, need)
	if m.reserved = need; short != nil {
		m.reserved = nil
	}
	return short
}

// letGo gives back what the model held of this machine.
func (a *Agent) letGo(m *model) {
	_ = a.hold(m, nil)
	m.artifacts.Release()
}

func (m *model) need() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan.MemoryBytes
}

// settled returns the plan unless it is a guess.
func (m *model) settled() *engine.Plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plan.Connect == nil {
		return nil
	}
	return m.plan
}

// unsettle has the model planned again at the next try.
func (m *model) unsettle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan = &engine.Plan{MemoryBytes: m.plan.MemoryBytes}
}

func fetchProgress(s *artifact.Set) *workerv1.FetchProgress {
	p, fetching := s.Progress()
	if !fetching {
		return nil
	}
	return &workerv1.FetchProgress{
		DoneBytes: p.Done, TotalBytes: p.Total, BytesPerSecond: p.Rate, Source: p.Source,
		Files: int32(p.Files), FilesDone: int32(p.FilesDone), Failures: int32(min(p.Failures, 1<<30)),
	}
}
