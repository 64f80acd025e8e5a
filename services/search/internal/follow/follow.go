// Package follow keeps indexes up with the truth: it hands them what the store
// says has changed since the generation they have, and has them made anew when
// that is no longer known. Start reading at Follower.
package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/store"
)

// page is how many versions an index is given at a time, at most. An index that
// is far behind is written in few large steps, which takes it less work.
const page = 1024

// Options is what a follower needs.
type Options struct {
	Store  *store.Store
	Index  index.Index
	Clock  clock.Clock
	Logger *slog.Logger
	// Poll is how often the store is asked for what other processes wrote.
	Poll time.Duration
	// Followed is told of every catching up: by how many generations (or by
	// everything, when the index was made anew), and how it ended.
	Followed func(anew bool, took time.Duration, err error)
}

// Follower owns the indexes' following. It is safe for concurrent use.
type Follower struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	handles map[string]*handle
	closed  chan struct{}
	work    sync.WaitGroup
}

// handle is one collection's index and the turn to change it.
type handle struct {
	turn chan struct{}

	mu         sync.RWMutex
	collection index.Collection
}

// New returns a follower. Run does its background work.
func New(o Options) *Follower {
	if o.Followed == nil {
		o.Followed = func(bool, time.Duration, error) {}
	}
	return &Follower{o: o, wake: make(chan struct{}, 1), handles: make(map[string]*handle), closed: make(chan struct{})}
}

// errClosing ends work that Close does not wait for.
var errClosing = apierr.New(apierr.Unavailable, "the search service is ending")

// Collection returns the collection's index as it is, once it has been made.
func (f *Follower) Collection(ctx context.Context, c store.Collection) (index.Collection, error) {
	if ic := f.handle(c.UID).get(); ic != nil && ic.Sequence() > 0 {
		return ic, nil
	}
	return f.CatchUp(ctx, c, 1)
}

// CatchUp returns the collection's index once it has followed the truth at
// least to the given generation. When ctx ends first the work goes on. An index
// that cannot follow is UNAVAILABLE, and is tried again by the next who asks.
func (f *Follower) CatchUp(ctx context.Context, c store.Collection, to int64) (index.Collection, error) {
	h := f.handle(c.UID)
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
	done := make(chan error, 1)
	if !f.begin() {
		<-h.turn
		return nil, errClosing
	}
	go func() {
		defer f.work.Done()
		defer func() { <-h.turn }()
		done <- f.catchUp(context.WithoutCancel(ctx), h, c, max(to, 1))
	}()
	select {
	case err := <-done:
		return h.get(), err
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

// Drop removes the index of a collection that is gone.
func (f *Follower) Drop(ctx context.Context, c store.Collection) error {
	h := f.handle(c.UID)
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.mu.Lock()
	delete(f.handles, c.UID)
	f.mu.Unlock()
	h.set(nil)
	return f.o.Index.Drop(ctx, c.UID)
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

func (f *Follower) handle(uid string) *handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handles[uid]
	if h == nil {
		h = &handle{turn: make(chan struct{}, 1)}
		f.handles[uid] = h
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

func (h *handle) set(c index.Collection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collection = c
}

// catchUp does the work; the caller has the handle's turn.
func (f *Follower) catchUp(ctx context.Context, h *handle, c store.Collection, to int64) error {
	ic := h.get()
	if ic == nil {
		var err error
		if ic, err = f.o.Index.Open(ctx, c.UID, index.WithMetric(index.Metric(c.VectorMetric))); err != nil {
			return outage.OfIndex(fmt.Errorf("follow %s: %w", c.UID, err))
		}
		h.set(ic)
	}
	for ic.Sequence() < to {
		began := f.o.Clock.Now()
		anew, err := f.step(ctx, ic, c)
		f.o.Followed(anew, f.o.Clock.Now().Sub(began), err)
		if apierr.ReasonOf(err) == apierr.NotFound { // the collection was deleted meanwhile
			h.set(nil)
			return errors.Join(err, f.o.Index.Drop(ctx, c.UID))
		}
		if err != nil {
			f.o.Logger.WarnContext(ctx, "the index does not follow", slog.String("collection", c.UID), telemetry.Err(err))
			return outage.OfIndex(fmt.Errorf("follow %s: %w", c.UID, err))
		}
	}
	return nil
}

// step takes the index one page further, or makes it anew.
func (f *Follower) step(ctx context.Context, ic index.Collection, c store.Collection) (anew bool, err error) {
	since := ic.Sequence()
	if since > 0 {
		ch, err := f.o.Store.Changes(ctx, c, since, page)
		if err == nil {
			err = f.apply(ctx, ic, c, ch)
		}
		if !errors.Is(err, store.ErrForgotten) && !errors.Is(err, index.ErrReplace) {
			return false, err
		}
	}
	var kept func(no int64, chunks int) bool
	if k, ok := ic.(index.Keeper); ok {
		if kept, err = k.Kept(ctx); err != nil {
			return true, err
		}
	}
	return true, f.o.Store.SnapshotExcept(ctx, c, kept, func(generation int64, versions iter.Seq2[store.Version, error]) error {
		return ic.Replace(ctx, generation, f.documents(versions))
	})
}

func (f *Follower) apply(ctx context.Context, ic index.Collection, c store.Collection, ch store.Changes) error {
	out := index.Changes{Through: ch.Through, Remove: ch.Removed, Put: make([]index.Document, 0, len(ch.Versions))}
	if ch.Through <= ic.Sequence() {
		return fmt.Errorf("collection %s is at generation %d, its index at %d", c.UID, ch.Through, ic.Sequence())
	}
	for _, v := range ch.Versions {
		d, err := document(v)
		if err != nil {
			return err
		}
		out.Put = append(out.Put, d)
	}
	return ic.Apply(ctx, out)
}

// documents turns versions into what an index holds, until the follower is
// closed.
func (f *Follower) documents(versions iter.Seq2[store.Version, error]) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for v, err := range versions {
			var d index.Document
			if err == nil {
				d, err = document(v)
			}
			select {
			case <-f.closed:
				err = errClosing
			default:
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func document(v store.Version) (index.Document, error) {
	var metadata map[string]any
	if err := json.Unmarshal(v.Metadata, &metadata); err != nil {
		return index.Document{}, fmt.Errorf("metadata of version %d: %w", v.No, err)
	}
	fields, err := filter.Fields(metadata)
	if err != nil {
		return index.Document{}, fmt.Errorf("metadata of version %d: %w", v.No, err)
	}
	if !v.ExpireTime.IsZero() {
		fields = append([]filter.Field{filter.Expiry(v.ExpireTime)}, fields...) // by path, and this one is empty
	}
	d := index.Document{
		No: v.No, ID: v.ID, Principals: v.Principals, Fields: fields,
		Kept: v.Kept, Title: v.Title, CreateTime: v.CreateTime, UpdateTime: v.UpdateTime, Chunks: make([]index.Chunk, len(v.Chunks)),
	}
	for i, ch := range v.Chunks {
		d.Chunks[i] = index.Chunk{Number: ch.Number, Terms: ch.Terms, Text: Worded(v.Title, ch.Text), Vector: ch.Vector}
	}
	return d, nil
}

// Worded returns what of a passage is indexed by words. Its document's title
// counts twice: few words that somebody chose say more of a passage than as many
// of the text ("Simple BM25 Extension to Multiple Weighted Fields", Robertson,
// Zaragoza and Taylor, 2004).
func Worded(title, text string) string {
	if title == "" {
		return text
	}
	return title + "\n" + Indexed(title, text)
}

// Indexed returns what is embedded of a passage: it is found by its document's
// title, too.
func Indexed(title, text string) string {
	switch {
	case title == "":
		return text
	case text == "":
		return title
	default:
		return title + "\n" + text
	}
}
