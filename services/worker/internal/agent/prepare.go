package agent

import (
	"context"
	"maps"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/artifact"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/supervise"
)

// A model whose files are on this machine is planned, and admitted or refused,
// at once. One whose files must be fetched is admitted by their sizes, which is
// less than it will take, and placed and planned when they are here; if it turns
// out not to fit then, it has failed, and is tried again as an engine that fails
// is, but never quarantined for that.

// prepare fetches what is missing, sees that all files are right, and returns
// how the model is served.
func (a *Agent) prepare(ctx context.Context, m *model) (*engine.Plan, error) {
	fetches := !m.artifacts.Present()
	if fetches {
		a.hub.changed()
		defer a.hub.changed()
	}
	if err := m.artifacts.Ensure(ctx); err != nil {
		if fetches {
			err = &supervise.ExcusedError{Err: err}
		}
		return nil, err
	}
	if plan := m.settled(); plan != nil {
		return plan, nil
	}
	if err := a.place(ctx, m); err != nil {
		// What cannot be served holds no memory.
		_ = a.hold(m, nil)
		m.unsettle()
		return nil, err
	}
	return m.settled(), nil
}

// place finds room for a model whose files have just come.
func (a *Agent) place(ctx context.Context, m *model) error {
	if a.loading.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	defer a.loading.Release(1)
	c := a.candidateOf(m)
	if err := c.survey(ctx); err != nil {
		return err
	}
	if err := a.admit(ctx, c); err != nil {
		return &supervise.ExcusedError{Err: err}
	}
	return nil
}

// hold reserves need in place of what is reserved for the model.
func (a *Agent) hold(m *model, need map[string]int64) *memory.Shortage {
	m.mu.Lock()
	defer m.mu.Unlock()
	short := a.parts.Pools.Exchange(m.reserved, need)
	if m.reserved = maps.Clone(need); short != nil {
		m.reserved = nil
	}
	return short
}

// letGo gives back what the model held of this machine.
func (a *Agent) letGo(m *model) {
	_ = a.hold(m, nil)
	m.artifacts.Release()
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
