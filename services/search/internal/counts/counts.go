// Package counts says how many documents and passages of a collection somebody
// may read, and remembers it for as long as nothing changes. Start reading at
// Counts.Of.
package counts

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Store counts; *store.Store is one.
type Store interface {
	CountReadable(ctx context.Context, c store.Collection, principals []string) (store.ReadableCounts, error)
}

// Result says where a count came from.
type Result string

// The results. All are labels of a metric.
const (
	Hit    Result = "hit"    // remembered
	Made   Result = "made"   // counted
	Failed Result = "failed" // could not be counted
)

// DefaultSize is how many counts are remembered where nobody says: some megabytes.
const DefaultSize = 10_000

// To count takes a few hundred milliseconds in a collection of 100,000 documents.
// While such a one is written to, a count that took longer than slow is given for
// restFactor times as long, so that those who ask again and again cannot keep the
// store busy with it.
const (
	slow       = 50 * time.Millisecond
	restFactor = 20
)

// Options is what counts need.
type Options struct {
	Store Store
	Clock clock.Clock
	// Size is how many counts are remembered, each of one collection for one set of
	// principals; 0: DefaultSize.
	Size int
	// Note is told of each count that was asked for; nil: nobody.
	Note func(ctx context.Context, r Result)
}

// Counts counts. It is safe for concurrent use.
type Counts struct {
	o     Options
	known *lru.Cache[key, count]

	mu      sync.Mutex
	flights map[key]chan struct{} // closed when somebody has counted
}

// key is a collection and a set of principals: who they are is hashed, for a
// caller may have many.
type key struct {
	uid string
	who [sha256.Size]byte
}

// count is of one generation of a collection.
type count struct {
	store.ReadableCounts

	generation int64
	// rests is until when it is good for later generations, too.
	rests time.Time
}

// New returns counts.
func New(o Options) (*Counts, error) {
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	if o.Note == nil {
		o.Note = func(context.Context, Result) {}
	}
	known, err := lru.New[key, count](o.Size)
	if err != nil {
		return nil, fmt.Errorf("remember counts: %w", err)
	}
	return &Counts{o: o, known: known, flights: make(map[key]chan struct{})}, nil
}

// Of returns the collection with the counts of those who have the principals,
// which must be in order. They are at least as new as the collection, unless it is
// written to and takes long to count.
func (c *Counts) Of(ctx context.Context, col store.Collection, principals []string) (store.Collection, error) {
	if col.DocumentCount == 0 {
		return col, nil
	}
	k := key{col.UID, hash(principals)}
	for {
		if known, ok := c.remembered(k, col.Generation); ok {
			c.o.Note(ctx, Hit)
			col.DocumentCount, col.ChunkCount = known.Documents, known.Chunks
			return col, nil
		}
		other, done := c.begin(k)
		if other != nil {
			select {
			case <-other:
				continue // by another, or not at all
			case <-ctx.Done():
				return store.Collection{}, context.Cause(ctx)
			}
		}
		counted, err := c.count(ctx, k, col, principals)
		done()
		if err != nil {
			c.o.Note(ctx, Failed)
			return store.Collection{}, err
		}
		c.o.Note(ctx, Made)
		col.DocumentCount, col.ChunkCount = counted.Documents, counted.Chunks
		return col, nil
	}
}

func (c *Counts) remembered(k key, generation int64) (count, bool) {
	known, ok := c.known.Get(k)
	now := c.o.Clock.Now()
	switch {
	case !ok, !known.Until.IsZero() && !now.Before(known.Until):
		return count{}, false
	default:
		return known, known.generation == generation || now.Before(known.rests)
	}
}

// begin has the caller count until it calls done, or returns what is closed when
// another has.
func (c *Counts) begin(k key) (other <-chan struct{}, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if flight, ok := c.flights[k]; ok {
		return flight, nil
	}
	flight := make(chan struct{})
	c.flights[k] = flight
	return nil, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, k)
		close(flight)
	}
}

func (c *Counts) count(ctx context.Context, k key, col store.Collection, principals []string) (count, error) {
	began := c.o.Clock.Now()
	counted, err := c.o.Store.CountReadable(ctx, col, principals)
	if err != nil {
		return count{}, err
	}
	out := count{ReadableCounts: counted, generation: col.Generation}
	if ended := c.o.Clock.Now(); ended.Sub(began) > slow {
		out.rests = ended.Add(restFactor * ended.Sub(began))
	}
	c.known.Add(k, out)
	return out, nil
}

// hash covers the principals and where each of them ends.
func hash(principals []string) (out [sha256.Size]byte) {
	h := sha256.New()
	var size [8]byte
	for _, p := range principals {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	h.Sum(out[:0])
	return out
}
