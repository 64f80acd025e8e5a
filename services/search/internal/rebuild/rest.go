package rebuild

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// rest is a pause after a failure.
type rest struct {
	pause time.Duration
	until time.Time
}

// The pauses after failures: they double.
const (
	firstPause  = time.Second
	longestWait = time.Minute
)

// note has an embedding generation rest after a failure, longer each time.
func (b *Builder) note(ctx context.Context, l store.Live, err error) {
	name := l.Collection.IndexName()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || gone(err) {
		delete(b.rests, name)
		return
	}
	r := b.rests[name]
	r.pause = min(max(firstPause, 2*r.pause), longestWait)
	r.until = b.o.Clock.Now().Add(r.pause)
	b.rests[name] = r
	if b.o.Suspended != nil {
		b.o.Suspended(ctx)
	}
	b.o.Logger.WarnContext(ctx, "an embedding generation waits", slog.String("collection", l.Collection.UID),
		slog.Int("embedding_generation", l.Number), slog.Duration("retry_in", r.pause), telemetry.Err(err))
}

// gone reports whether the collection was deleted meanwhile: nothing waits then.
func gone(err error) bool {
	e := apierr.From(err)
	return e.Reason == apierr.NotFound && e.Field == "collection"
}

// forget drops the pauses of what is no more.
func (b *Builder) forget(live []store.Live) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.rests, func(name string, _ rest) bool {
		return !slices.ContainsFunc(live, func(l store.Live) bool { return l.Collection.IndexName() == name })
	})
}
