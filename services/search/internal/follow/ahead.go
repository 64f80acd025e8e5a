package follow

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// ahead reads a page of changes while the index is given the one before. It is
// used by one goroutine.
type ahead struct {
	f     *Follower
	c     store.Collection
	since int64     // of what is being read
	begun chan read // nil: nothing is being read
}

// read is a page of changes.
type read struct {
	changes  index.Changes
	complete bool // there were no others
	err      error
}

// begin has the changes after a generation read.
func (a *ahead) begin(ctx context.Context, since int64) {
	begun := make(chan read, 1)
	a.since, a.begun = since, begun
	go func() { begun <- a.f.read(ctx, a.c, since) }()
}

// take returns the changes after a generation: those that are being read, if they
// are these.
func (a *ahead) take(ctx context.Context, since int64) read {
	if a.begun != nil {
		was := a.since
		if r := a.end(); was == since {
			return r
		}
	}
	return a.f.read(ctx, a.c, since)
}

// end waits for what is being read.
func (a *ahead) end() read {
	if a.begun == nil {
		return read{}
	}
	defer func() { a.begun = nil }()
	return <-a.begun
}

// read reads a page of changes as the index is given it.
func (f *Follower) read(ctx context.Context, c store.Collection, since int64) read {
	ch, err := f.o.Store.Changes(ctx, c, since, f.page)
	if err != nil {
		return read{err: err}
	}
	if ch.Through <= since {
		return read{err: fmt.Errorf("collection %s is at generation %d, its index at %d", c.IndexName(), ch.Through, since)}
	}
	out := read{complete: ch.Complete, changes: index.Changes{
		Through: ch.Through, Remove: ch.Removed, Put: make([]index.Document, 0, len(ch.Versions)),
	}}
	for _, v := range ch.Versions {
		d, err := f.document(c, v)
		if err != nil {
			return read{err: err}
		}
		out.changes.Put = append(out.changes.Put, d)
	}
	return out
}
