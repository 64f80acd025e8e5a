// Package querycache remembers the vectors of queries, and has one call made
// for identical queries that are asked at the same time. It knows nothing of
// collections or of who may read what: a vector is no document. Start reading at
// Cache.Embed.
package querycache

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

// Embedder makes vectors of texts.
type Embedder interface {
	Embed(ctx context.Context, model string, kind embedding.Kind, texts []string) (embedding.Vectors, error)
}

// Result says where a query's vector came from.
type Result string

// The results. All are labels of a metric.
const (
	Hit     Result = "hit"     // remembered
	Shared  Result = "shared"  // with a call that was being made
	Made    Result = "made"    // by a call of its own
	Failed  Result = "failed"  // by a call of its own, or shared
	Dropped Result = "dropped" // the caller left first
)

// Options is what a cache needs.
type Options struct {
	Embedder Embedder
	// Bytes is how much is remembered: vectors, queries and what is needed to find
	// them. 0 remembers nothing; calls are shared all the same.
	Bytes int64
	// Note is told of every query.
	Note func(ctx context.Context, r Result)
}

// key is a query by whose tenant, to which version of which model. Tenants are
// apart, for how soon an answer comes tells whether somebody asked the same
// before.
type key struct{ tenant, model, text string }

// Cache is an Embedder for queries. It is safe for concurrent use. The vectors
// that it returns are shared and must not be changed.
type Cache struct {
	o       Options
	vectors *otter.Cache[key, embedding.Vectors] // nil: nothing is remembered

	mu      sync.Mutex
	flights map[key]*flight
}

// overhead is what an entry takes besides its key and its vector.
const overhead = 200

// New returns a cache.
func New(o Options) (*Cache, error) {
	c := &Cache{o: o, flights: make(map[key]*flight)}
	if o.Bytes <= 0 {
		return c, nil
	}
	var err error
	c.vectors, err = otter.New(&otter.Options[key, embedding.Vectors]{
		MaximumWeight: uint64(o.Bytes),
		Weigher: func(k key, v embedding.Vectors) uint32 {
			return uint32(overhead + len(k.tenant) + len(k.model) + len(k.text) + len(v.Digest) + 4*len(v.Values[0]))
		},
	})
	return c, err
}

// Embed returns the vector of a query. Anything else than one query is handed
// on, and so is a call on nobody's behalf.
func (c *Cache) Embed(ctx context.Context, model string, kind embedding.Kind, texts []string) (embedding.Vectors, error) {
	caller, ok := identity.FromContext(ctx)
	if !ok || caller.Tenant == "" || kind != embedding.Query || len(texts) != 1 {
		return c.o.Embedder.Embed(ctx, model, kind, texts)
	}
	k := key{caller.Tenant, model, texts[0]}
	if c.remembers(model) {
		if v, ok := c.vectors.GetIfPresent(k); ok {
			c.o.Note(ctx, Hit)
			return v, nil
		}
	}
	f, began := c.board(ctx, k)
	select {
	case <-f.done:
		c.leave(k, f)
		modelwork.From(ctx).Add(f.work.Take())
		if f.err != nil {
			c.o.Note(ctx, Failed)
			return embedding.Vectors{}, f.err
		}
		if began {
			c.o.Note(ctx, Made)
		} else {
			c.o.Note(ctx, Shared)
		}
		return f.vectors, nil
	case <-ctx.Done():
		c.leave(k, f)
		c.o.Note(ctx, Dropped)
		return embedding.Vectors{}, context.Cause(ctx)
	}
}

// remembers reports whether what the reference names stays the same: only a
// digest does.
func (c *Cache) remembers(model string) bool {
	return c.vectors != nil && strings.Contains(model, "@sha256:")
}

// flight is one call, for all who ask the same while it is made.
type flight struct {
	done   chan struct{} // closed with the rest set
	cancel context.CancelCauseFunc
	riders int // guarded by the cache's lock

	vectors embedding.Vectors
	err     error
	// work is what the model did. It is the first rider's who takes the answer: who
	// began may have left.
	work *modelwork.Tally
}

// errNobody ends a call that nobody waits for any more.
var errNobody = errors.New("everybody who asked has left")

// board joins the call for k, or begins one, which ends when the last of its
// riders has left and not with the one who began it. It is made on that one's
// behalf; the embedder bounds its time.
func (c *Cache) board(ctx context.Context, k key) (f *flight, began bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[k]; ok {
		f.riders++
		return f, false
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, work := modelwork.NewContext(ctx)
	f = &flight{done: make(chan struct{}), cancel: cancel, riders: 1, work: work}
	c.flights[k] = f
	go c.fly(ctx, k, f)
	return f, true
}

func (c *Cache) fly(ctx context.Context, k key, f *flight) {
	defer f.cancel(nil)
	f.vectors, f.err = c.o.Embedder.Embed(ctx, k.model, embedding.Query, []string{k.text})
	if f.err == nil && c.remembers(k.model) {
		c.vectors.Set(k, f.vectors)
	}
	c.mu.Lock()
	c.forget(k, f)
	c.mu.Unlock()
	close(f.done)
}

// leave gives the rider's place up; the last one ends the call.
func (c *Cache) leave(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.riders--; f.riders == 0 {
		c.forget(k, f) // who comes now begins another
		f.cancel(errNobody)
	}
}

func (c *Cache) forget(k key, f *flight) {
	if c.flights[k] == f {
		delete(c.flights, k)
	}
}
