// Package rebuild builds embedding generations in the background and keeps those
// that do not serve up with what is written: it has documents embedded that one
// does not have yet, in the order of their versions, and switches when it has
// all. All progress is in the store, under a lease, so that another process goes
// on where one was killed. Start reading at Builder.Run and slice.
package rebuild

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Embedder turns texts into vectors, behind all other work.
type Embedder interface {
	Embed(ctx context.Context, model string, kind embedding.Kind, texts []string) (embedding.Vectors, error)
}

// Cutter cuts documents into passages.
type Cutter interface {
	Cut(c store.Collection, v *store.Version) *apierr.Error
	// Fit cuts anew what the model has no room for; the error is of a document.
	Fit(ctx context.Context, c store.Collection, model string, docs []*store.Version) *apierr.Error
}

// Indexes keeps indexes up with what is embedded.
type Indexes interface {
	CatchUp(ctx context.Context, c store.Collection, to int64) (index.Collection, error)
	Notify()
}

// Options is what a builder needs.
type Options struct {
	Store    *store.Store
	Embedder Embedder
	Cutter   Cutter
	Indexes  Indexes
	Clock    clock.Clock
	Logger   *slog.Logger
	// Holder names this process among those that share the store.
	Holder string
	// Poll is how often the store is asked for what is to be done.
	Poll time.Duration
	// Lease is after how long without a sign of life another process goes on.
	Lease time.Duration
	// ChunksPerSecond bounds how many passages are embedded; 0 does not.
	ChunksPerSecond float64
	// Share is the part of the time that calls may take, up to 1; 0 does not bound
	// it either.
	Share float64
	// CallChunks is how many passages are embedded between two pauses.
	CallChunks int
	// GroupDocuments and GroupBytes bound what is embedded and written together.
	GroupDocuments, GroupBytes int
	// MaxCollectionChunks bounds the passages of an embedding generation.
	MaxCollectionChunks int
	// KeepRetired is for how long one that served can serve again.
	KeepRetired time.Duration
	// Progress is told every few seconds how far the building is, and Suspended of
	// each failure after which it rests; nil: nobody is.
	Progress  func(ctx context.Context, p store.Progress)
	Suspended func(ctx context.Context)
}

// Builder builds. It is safe for concurrent use.
type Builder struct {
	o    Options
	wake chan struct{}

	mu    sync.Mutex
	turns map[string]chan struct{} // by index name: one at a time works on it
	rests map[string]rest

	told told
}

// New returns a builder. Run does its work.
func New(o Options) *Builder {
	return &Builder{o: o, wake: make(chan struct{}, 1), turns: make(map[string]chan struct{}), rests: make(map[string]rest)}
}

// Notify has the builder look soon for what is to be done.
func (b *Builder) Notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run builds, follows, and removes what is not kept any more, until ctx ends.
// What fails is noted where it is seen and tried again.
func (b *Builder) Run(ctx context.Context) error {
	ticker := b.o.Clock.NewTicker(b.o.Poll)
	defer ticker.Stop()
	for {
		more, err := b.round(ctx)
		if err != nil && ctx.Err() == nil {
			b.o.Logger.WarnContext(ctx, "embedding generations cannot be worked on", telemetry.Err(err))
		}
		if ctx.Err() != nil {
			return b.leave(ctx)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return b.leave(ctx)
		case <-ticker.C():
		case <-b.wake:
		}
	}
}

// leaveWithin bounds how long the end waits for the store.
const leaveWithin = 2 * time.Second

// leave gives the leases back, so that nobody need wait for them to end.
func (b *Builder) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if err := b.o.Store.Release(ctx, b.o.Holder); err != nil {
		b.o.Logger.InfoContext(ctx, "leases on embedding generations are left to end", telemetry.Err(err))
	}
	return nil
}

// round gives every embedding generation its turn once, and reports whether
// there is more to do at once.
func (b *Builder) round(ctx context.Context) (more bool, err error) {
	live, err := b.o.Store.Live(ctx)
	if err != nil {
		return false, err
	}
	b.progress(ctx, live)
	b.forget(live)
	for _, l := range live {
		if b.idle(l) {
			continue
		}
		again, err := b.do(ctx, l)
		more = more || again
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		b.note(ctx, l, err)
	}
	return more, nil
}

// idle reports whether there is nothing to do for l now: what looks often must
// not write then.
func (b *Builder) idle(l store.Live) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.o.Clock.Now().Before(b.rests[l.Collection.IndexName()].until) {
		return true
	}
	switch l.State {
	case store.Ready:
		return l.Through >= l.Collection.Generation && !l.ServeWhenReady
	case store.Retired:
		return l.Through >= l.Collection.Generation && !b.expired(l)
	case store.Building, store.Removing, store.Serving, store.Failed:
		fallthrough
	default:
		return false
	}
}

// expired reports whether l has been retired for as long as it is kept.
func (b *Builder) expired(l store.Live) bool {
	return l.State == store.Retired && b.o.Clock.Now().Sub(l.RetireTime) > b.o.KeepRetired
}

// do does the next thing that l needs, and reports whether there is more.
func (b *Builder) do(ctx context.Context, l store.Live) (more bool, err error) {
	switch {
	case l.State == store.Removing:
		return b.o.Store.Sweep(ctx)
	case b.expired(l):
		return true, b.o.Store.RetireBefore(ctx, b.o.Clock.Now().Add(-b.o.KeepRetired))
	default:
		return b.work(ctx, l)
	}
}

// work takes one embedding generation a step further, unless another process
// does. It reports whether there is more to do at once.
func (b *Builder) work(ctx context.Context, l store.Live) (more bool, err error) {
	done, moved := false, false
	err = b.held(ctx, l.Collection, func(ctx context.Context, lease store.Lease) error {
		var err error
		if done, err = b.slice(ctx, l, lease, l.State == store.Building); err != nil || !done {
			return err
		}
		moved = true
		state, err := b.o.Store.Complete(ctx, lease, b.o.MaxCollectionChunks)
		if err != nil || state != store.Ready {
			return err
		}
		if err := b.followed(ctx, l.Collection); err != nil || !l.ServeWhenReady {
			return err
		}
		if waits, err := b.awaits(ctx, l, lease); err != nil || waits {
			return err
		}
		done = false
		return b.o.Store.Serve(ctx, l.Collection, l.Number)
	})
	switch {
	case errors.Is(err, store.ErrLeaseLost):
		return false, nil // another's, or nobody's any more
	case errors.Is(err, store.ErrBehind):
		return true, nil // written to meanwhile
	case err != nil:
		return false, err
	}
	if moved {
		b.o.Indexes.Notify()
	}
	return !done, nil
}

// followed has the index of an embedding generation follow as far as that is
// embedded, so that searches need not wait after the switch.
func (b *Builder) followed(ctx context.Context, c store.Collection) error {
	g, err := b.o.Store.EmbeddingGeneration(ctx, c, c.EmbeddingGeneration)
	if err != nil {
		return err
	}
	_, err = b.o.Indexes.CatchUp(ctx, c, g.Through)
	return err
}
