package catalog

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// saveInterval is the shortest time between two writes of the file: a burst of
// changes costs one write, and none of them waits for the disk.
const saveInterval = time.Second

// keep writes every snapshot that comes, the last one also when ctx ends. What
// the file holds already, kept, is not written again.
func (f *Follower) keep(ctx context.Context, kept *Snapshot, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		var s *Snapshot
		if s, changed = f.Watch(); s != kept && s != nil {
			if err := f.opts.File.Write(s); err != nil {
				f.opts.Logger.WarnContext(ctx, "the registry's snapshot cannot be kept", slog.Any("error", err))
			}
			kept = s
		}
		if ctx.Err() != nil {
			return
		}
		if clock.Sleep(ctx, f.opts.Clock, saveInterval) != nil {
			// Ends once more around, with what came meanwhile.
			continue
		}
	}
}
