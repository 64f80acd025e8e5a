package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/poterne/poterne/pkg/clock"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/silence"
)

// MaxModels bounds the versions that one worker may report.
const MaxModels = 1024

// member follows one worker.
type member struct {
	fleet  *Fleet
	key    memberKey
	worker *Worker
	cancel context.CancelFunc
	listed bool // discovery names it; fleet.mu guards it
}

// run keeps the worker's state stream open until ctx ends.
func (m *member) run(ctx context.Context) {
	opts := m.fleet.opts
	for failures := 1; ctx.Err() == nil; failures++ {
		reported, err := m.follow(ctx)
		if reported {
			failures = 1
		}
		if ctx.Err() != nil {
			return
		}
		wait := opts.Backoff.Wait(failures)
		opts.Logger.DebugContext(ctx, "the worker's state stream ended", slog.String("worker", m.worker.ID()),
			slog.Any("error", err), slog.Duration("retry_in", wait))
		m.lost(ctx, reported, err)
		if clock.Sleep(ctx, opts.Clock, wait) != nil {
			return
		}
	}
}

// follow runs one state stream, and reports whether any state came.
func (m *member) follow(ctx context.Context) (reported bool, err error) {
	ctx, heard, stop := silence.Guard(ctx, m.fleet.opts.Clock, m.fleet.opts.SilenceTimeout)
	defer stop()
	stream, err := m.worker.client.WatchState(ctx, &workerv1.WatchStateRequest{Replica: m.fleet.opts.Replica})
	if err != nil {
		return false, fmt.Errorf("watch the worker's state: %w", errors.Join(err, context.Cause(ctx)))
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return reported, fmt.Errorf("watch the worker's state: %w", errors.Join(err, context.Cause(ctx)))
		}
		heard()
		state := msg.GetState()
		if state.GetWorkerId() == "" || len(state.GetModels()) > MaxModels {
			return reported, errors.New("the worker's state is not valid")
		}
		m.reported(ctx, state)
		reported = true
	}
}

// reported takes over a state. A new view is made only when the state says that
// something else serves.
func (m *member) reported(ctx context.Context, state *workerv1.WorkerState) {
	w, now := m.worker, m.fleet.opts.Clock.Now()
	old := w.Report()
	next := &Report{State: state, Connected: true, At: now, Since: old.Since, Away: old.Away}
	if !old.Connected {
		next.Since, next.Away = now, now.Sub(old.Since)
		// It was away and is back: what was held against it is over.
		w.cooling.reset()
		m.fleet.opts.Logger.InfoContext(ctx, "worker connected",
			slog.String("worker", state.GetWorkerId()), slog.Int("models", len(state.GetModels())))
	}
	for _, model := range state.GetModels() {
		w.copyOf(model.GetDigest()).observe(model)
	}
	w.report.Store(next)
	if old.Connected && sameShape(old.State, state) {
		return
	}
	present := make(map[string]bool, len(state.GetModels()))
	for _, model := range state.GetModels() {
		present[model.GetDigest()] = true
	}
	w.forgetCopies(present)
	change := m.fleet.changes.Add(1)
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	m.fleet.heard(m)
	m.fleet.show(change)
}

// lost notes that the stream ended. A worker that discovery no longer names is
// then forgotten.
func (m *member) lost(ctx context.Context, reported bool, err error) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members[m.key] != m {
		return
	}
	old := m.worker.Report()
	if old.Connected {
		next := *old
		next.Connected, next.Since = false, f.opts.Clock.Now()
		m.worker.report.Store(&next)
	}
	if reported {
		f.opts.Logger.WarnContext(ctx, "worker lost", slog.String("worker", m.worker.ID()), slog.Any("error", err))
	}
	// Tries that fail one after another change nothing, and wake nobody.
	changed := old.Connected || f.pending[m] || !m.listed
	f.heard(m)
	if !m.listed {
		f.drop(ctx, m.key, m)
	}
	if changed {
		f.publish()
	}
}
