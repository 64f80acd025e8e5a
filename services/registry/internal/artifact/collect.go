package artifact

import (
	"context"
	"errors"
	"log/slog"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// The most that is done at once, and that is told of.
const (
	collectBatch = 200
	collectTold  = 1000
)

// Collected is what was deleted, or would be.
type Collected struct {
	Artifacts []*store.Artifact // the first of them
	Count     int64
	Bytes     int64
	Waiting   int64
}

func (c *Collected) add(list []*store.Artifact) {
	for _, a := range list {
		c.Count++
		c.Bytes += a.Size
		if len(c.Artifacts) < collectTold {
			c.Artifacts = append(c.Artifacts, a)
		}
	}
}

// Collect deletes what nothing has referred to for the grace period: first it
// marks what nothing refers to, then it sweeps what was marked long enough ago.
// With dryRun it marks, and tells what it would sweep.
func (m *Manager) Collect(ctx context.Context, dryRun bool) (Collected, error) {
	var out Collected
	if err := m.Store.MarkArtifacts(ctx); err != nil {
		return out, err
	}
	since := m.Clock.Now().Add(-m.cfg.Grace)
	if dryRun {
		const most = 1_000_000
		g, err := m.Store.Unreferenced(ctx, since, most)
		out.add(g.Artifacts)
		out.Waiting = g.Waiting
		return out, err
	}
	for {
		g, err := m.Store.SweepArtifacts(ctx, since, collectBatch)
		if err != nil {
			return out, err
		}
		out.add(g.Artifacts)
		out.Waiting = g.Waiting
		m.Metrics.Swept(ctx, int64(len(g.Artifacts)))
		if len(g.Artifacts) < collectBatch {
			return out, m.empty(ctx)
		}
	}
}

// empty removes the contents that nothing knows any more.
func (m *Manager) empty(ctx context.Context) error {
	for {
		places, err := m.Store.Trash(ctx, collectBatch)
		if err != nil || len(places) == 0 {
			return err
		}
		for _, place := range places {
			if err := m.Content.Remove(ctx, place); err != nil {
				return err
			}
			if err := m.Store.Removed(ctx, place); err != nil {
				return err
			}
		}
	}
}

// Delete deletes an artifact to which nothing refers.
func (m *Manager) Delete(ctx context.Context, sum string) error {
	if err := m.Store.DeleteArtifact(ctx, sum); err != nil {
		return err
	}
	m.Metrics.Swept(ctx, 1)
	return m.empty(ctx) // if that fails, the next collection does it
}

// Run tidies up from time to time until ctx ends: uploads that are over, those
// whose completion was interrupted, and artifacts that nothing refers to.
func (m *Manager) Run(ctx context.Context, jitter lifecycle.Jitter, log *slog.Logger) error {
	return lifecycle.Every(ctx, m.Clock, m.cfg.CollectEvery, jitter, func(ctx context.Context) error {
		if err := m.Tidy(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "artifacts are not tidied up", slog.Any(metrics.KeyError, err))
		}
		return nil
	})
}

// Tidy does once what Run does from time to time.
func (m *Manager) Tidy(ctx context.Context) error {
	_, err := m.Store.ExpireUploads(ctx)
	errs := []error{err}
	whole, err := m.Store.WholeUploads(ctx, collectBatch)
	errs = append(errs, err)
	for _, u := range whole {
		// One that has another SHA-256 waits for whoever sent it.
		if _, err := m.Complete(ctx, u.ID, ""); err != nil && apierr.ReasonOf(err) != apierr.FailedPrecondition {
			errs = append(errs, err)
		}
	}
	dropped, err := m.Store.DroppedUploads(ctx, collectBatch)
	errs = append(errs, err)
	for _, u := range dropped {
		errs = append(errs, m.discard(ctx, u))
	}
	_, err = m.Collect(ctx, false)
	errs = append(errs, err)
	stats, err := m.Store.ArtifactStats(ctx)
	if err == nil {
		m.Metrics.Artifacts(metrics.Artifacts{
			Count: stats.Artifacts, Bytes: stats.ArtifactBytes, Uploads: stats.Uploads, UploadBytes: stats.UploadBytes,
		})
	}
	return errors.Join(append(errs, err)...)
}
