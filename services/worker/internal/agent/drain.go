package agent

import (
	"context"
	"log/slog"

	"github.com/poterne/poterne/pkg/clock"
)

// Drain takes no new work, tells so, and waits for the work in flight, but no
// longer than the configured time: what is then left is cut. It ends the streams
// of state.
func (a *Agent) Drain(ctx context.Context) error {
	a.mu.Lock()
	a.draining = true
	a.mu.Unlock()
	a.hub.changed()
	timer := a.parts.Clock.NewTimer(a.cfg.DrainTimeout)
	defer timer.Stop()
	if !a.awaitWork(ctx, timer) {
		a.log.WarnContext(ctx, "requests are cut", slog.Int64(keyInFlight, a.inFlight.Load()))
		a.cutQuantizing()
		a.endModels(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.ended:
	default:
		close(a.ended)
	}
	return nil
}

// awaitWork waits for what is in flight, and reports whether it ended in time.
func (a *Agent) awaitWork(ctx context.Context, timer clock.Timer) bool {
	var waits []<-chan struct{}
	for _, m := range a.list() {
		waits = append(waits, m.gate.shutDown())
	}
	if j := a.currentQuantizing(); j != nil {
		waits = append(waits, j.done)
	}
	for _, done := range waits {
		select {
		case <-done:
		case <-timer.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Stop ends all engines and returns when they are gone; when ctx ends it kills
// those that are still there.
func (a *Agent) Stop(ctx context.Context) error {
	a.mu.Lock()
	a.draining = true
	a.mu.Unlock()
	stop := context.AfterFunc(ctx, a.forceStop)
	defer stop()
	a.cutQuantizing()
	a.endModels(ctx)
	a.forceStop()
	return nil
}

// endModels ends the engines of all models at the same time.
func (a *Agent) endModels(ctx context.Context) {
	all := a.list()
	for _, m := range all {
		m.gate.shutDown()
		m.cancel()
	}
	for _, m := range all {
		<-m.done
	}
	if len(all) > 0 {
		a.log.InfoContext(ctx, "engines stopped", slog.Int("engines", len(all)))
	}
}
