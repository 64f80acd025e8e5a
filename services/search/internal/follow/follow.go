// Package follow keeps indexes up with the truth: it hands them what the store
// says has changed since the generation they have, and has them made anew when
// that is no longer known. Start reading at Follower.
package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/store"
)

// page is how many versions an index is given at a time, at most; the store
// bounds their passages. An index that is far behind is written in few large
// steps, which takes it less work.
const page = 4096

// Options is what a follower needs.
type Options struct {
	Store  *store.Store
	Index  index.Index
	Clock  clock.Clock
	Logger *slog.Logger
	// Poll is how often the store is asked for what other processes wrote.
	Poll time.Duration
	// Analyser is the version of the analyser; 0 means analysis.Version. Indexes of
	// other versions are made anew.
	Analyser int
	// Followed is told of every catching up: by how many generations (or by
	// everything, when the index was made anew), and how it ended.
	Followed func(anew bool, took time.Duration, err error)
}

// Follower owns the indexes' following. It is safe for concurrent use.
type Follower struct {
	o    Options
	page int // see the constant
	wake chan struct{}

	mu      sync.Mutex
	handles map[string]*handle
	shown   map[string]string // the index that was last shown to serve, by collection; Run's own
	closed  chan struct{}
	// renewing is held while an index is made anew for another analyser.
	renewing chan struct{}
	work     sync.WaitGroup
}

// handle is one collection's index and the turn to change it.
type handle struct {
	turn chan struct{}

	mu         sync.RWMutex
	collection index.Collection
	failing    bool // the last attempt to follow failed
	// outdated is the name of the collection's index while that is of another
	// analyser and is to be made anew; who has the turn reads and writes it.
	outdated string
}

// New returns a follower. Run does its background work.
func New(o Options) *Follower {
	if o.Followed == nil {
		o.Followed = func(bool, time.Duration, error) {}
	}
	if o.Analyser == 0 {
		o.Analyser = analysis.Version
	}
	return &Follower{o: o, page: page, wake: make(chan struct{}, 1), handles: make(map[string]*handle), shown: make(map[string]string), closed: make(chan struct{}), renewing: make(chan struct{}, 1)}
}

// errClosing ends work that Close does not wait for.
var errClosing = apierr.New(apierr.Unavailable, "the search service is ending")

// Collection returns the index of c's embedding generation as it is, once it has
// been made and has followed to where that began to serve.
func (f *Follower) Collection(ctx context.Context, c store.Collection) (index.Collection, error) {
	return f.CatchUp(ctx, c, c.ServingSince)
}

// CatchUpServing is CatchUp for the embedding generation that serves now,
// whichever c speaks of.
func (f *Follower) CatchUpServing(ctx context.Context, c store.Collection, to int64) error {
	for {
		_, err := f.CatchUp(ctx, c, to)
		if !Superseded(err) || ctx.Err() != nil {
			return err
		}
		fresh, err := f.o.Store.Collection(ctx, c.Tenant, c.ID)
		if err != nil || fresh.UID != c.UID { // what was written is gone with the collection
			return err
		}
		c = fresh
	}
}

// Superseded reports whether err says that another embedding generation serves
// than the one that was asked for: read the collection again.
func Superseded(err error) bool {
	return errors.Is(err, store.ErrNotServing) || errors.Is(err, store.ErrNoEmbeddingGeneration)
}

// CatchUp returns the index of c's embedding generation once it has followed the
// truth at least to the given generation. When ctx ends first the work goes on.
// An index that cannot follow is UNAVAILABLE, and is tried again by the next who
// asks; the error of one that does not serve is Superseded when there is no more
// for it to follow.
func (f *Follower) CatchUp(ctx context.Context, c store.Collection, to int64) (index.Collection, error) {
	h := f.handle(c.IndexName())
	if ic := h.get(); ic != nil && ic.Sequence() >= max(to, 1) {
		return ic, nil
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-f.closed:
		return nil, errClosing
	}
	type caughtUp struct {
		index index.Collection
		err   error
	}
	done := make(chan caughtUp, 1)
	if !f.begin() {
		<-h.turn
		return nil, errClosing
	}
	go func() {
		defer f.work.Done()
		defer func() { <-h.turn }()
		ic, err := f.catchUp(context.WithoutCancel(ctx), h, c, max(to, 1))
		done <- caughtUp{ic, err}
	}()
	select {
	case now := <-done:
		return now.index, now.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin counts one more piece of work, unless the follower is closed.
func (f *Follower) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return false
	default:
		f.work.Add(1)
		return true
	}
}

// Notify has the collections followed soon.
func (f *Follower) Notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Drop removes the index of that name, whose collection or embedding generation
// is gone.
func (f *Follower) Drop(ctx context.Context, name string) error {
	h := f.handle(name)
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.mu.Lock()
	delete(f.handles, name)
	f.mu.Unlock()
	h.set(nil)
	return f.dropAll(ctx, name)
}

// Close ends all work and closes the index.
func (f *Follower) Close() error {
	f.mu.Lock()
	select {
	case <-f.closed:
		f.mu.Unlock()
		return nil
	default:
		close(f.closed)
	}
	f.mu.Unlock()
	f.work.Wait()
	return f.o.Index.Close()
}

func (f *Follower) handle(name string) *handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handles[name]
	if h == nil {
		h = &handle{turn: make(chan struct{}, 1)}
		f.handles[name] = h
	}
	return h
}

func (h *handle) get() index.Collection {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.collection
}

// sequence is what searches see; 0 for nothing.
func (h *handle) sequence() int64 {
	if ic := h.get(); ic != nil {
		return ic.Sequence()
	}
	return 0
}

// fails notes whether the last attempt to follow failed.
func (h *handle) fails(failing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing = failing
}

func (h *handle) set(c index.Collection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collection = c
}

// catchUp does the work; the caller has the handle's turn.
func (f *Follower) catchUp(ctx context.Context, h *handle, c store.Collection, to int64) (_ index.Collection, err error) {
	defer func() { h.fails(err != nil) }()
	ic := h.get()
	if ic == nil {
		if ic, err = f.openIndex(ctx, h, c); err != nil {
			return nil, outage.OfIndex(fmt.Errorf("follow %s: %w", c.IndexName(), err))
		}
		h.set(ic)
	}
	next := &ahead{f: f, c: c}
	defer next.end()
	for ic.Sequence() < to {
		began := f.o.Clock.Now()
		anew, err := f.step(ctx, ic, next, to)
		if errors.Is(err, store.ErrNotServing) {
			return nil, err
		}
		f.o.Followed(anew, f.o.Clock.Now().Sub(began), err)
		if apierr.ReasonOf(err) == apierr.NotFound || errors.Is(err, store.ErrNoEmbeddingGeneration) { // removed meanwhile
			h.set(nil)
			return nil, errors.Join(err, f.dropAll(ctx, c.IndexName()))
		}
		if err != nil {
			f.o.Logger.WarnContext(ctx, "the index does not follow", slog.String("index", c.IndexName()), telemetry.Err(err))
			return nil, outage.OfIndex(fmt.Errorf("follow %s: %w", c.IndexName(), err))
		}
	}
	return ic, nil
}

// step takes the index one page further on its way to a generation, or makes it
// anew.
func (f *Follower) step(ctx context.Context, ic index.Collection, next *ahead, to int64) (anew bool, err error) {
	if since := ic.Sequence(); since > 0 {
		r := next.take(ctx, since)
		if err = r.err; err == nil {
			if !r.complete && r.changes.Through < to {
				next.begin(ctx, r.changes.Through)
			}
			err = ic.Apply(ctx, r.changes)
		}
		if !errors.Is(err, store.ErrForgotten) && !errors.Is(err, index.ErrReplace) {
			return false, err
		}
	}
	return true, f.anew(ctx, ic, next.c)
}

// anew makes an index anew from the truth, and from what it has kept of it.
func (f *Follower) anew(ctx context.Context, ic index.Collection, c store.Collection) error {
	var kept func(no int64, chunks int) bool
	if k, ok := ic.(index.Keeper); ok {
		var err error
		if kept, err = k.Kept(ctx); err != nil {
			return err
		}
	}
	return f.o.Store.SnapshotExcept(ctx, c, kept, func(generation int64, versions iter.Seq2[store.Version, error]) error {
		return ic.Replace(ctx, generation, f.documents(c, versions))
	})
}
