// Package follow remembers records of a store that several edges share, so that
// looking one up costs no read. Changes in the store have numbers, revisions: one
// small read at every poll tells whether anything changed, and only then the
// changes are read; so the cost does not grow with the number of records in use. It
// knows nothing of what a record is. Start reading at Cache.
package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/poterne/poterne/pkg/clock"
)

const (
	// freshPolls is how many polls may be missed before what is remembered is no
	// longer taken for the store's present state.
	freshPolls    = 4
	changesAtOnce = 500
	storeTimeout  = time.Second
	// maxLookups bounds the reads that names nobody knows can cause at once.
	maxLookups = 16
)

var (
	// ErrAway says that a record cannot be judged now.
	ErrAway = errors.New("the store does not answer")
	// ErrLate says that the time of a poll was over before the store had answered.
	ErrLate = errors.New("the store did not answer within " + storeTimeout.String())
)

// Store is what is followed. Changes have revisions that are committed in their
// order.
type Store[R any] interface {
	// Get returns the record of that name; Options.NotFound when there is none.
	Get(ctx context.Context, name string) (R, error)
	// Revision returns the number of the last change.
	Revision(ctx context.Context) (int64, error)
	// Changes returns records that changed after a revision, in the changes' order.
	Changes(ctx context.Context, after int64, limit int) ([]R, error)
}

// Options are how a store is followed.
type Options[R any] struct {
	// Name is by what a record is looked up, and Revision numbers its last change.
	Name     func(R) string
	Revision func(R) int64
	// NotFound is what the store says of a record that is not there.
	NotFound error
	// Size is how many records are remembered, and as many that are not there.
	Size int
	// Poll is how often Cache.Poll is called, and StaleFor how long remembered
	// records hold while the store is away.
	Poll, StaleFor time.Duration
	Clock          clock.Clock
	// Failed is told of reads that failed.
	Failed func(ctx context.Context)
	// Besides follows what the records rest on and the store numbers too: it is called
	// by Poll with the revisions after which changes may be, and nil: nothing is. When
	// it fails, the next poll begins again.
	Besides func(ctx context.Context, from, to int64) error
}

// Cache remembers records of a store. It is safe for concurrent use.
type Cache[R any] struct {
	o       Options[R]
	store   Store[R]
	flight  singleflight.Group
	lookups chan struct{}

	mu        sync.Mutex
	known     *lru.Cache[string, R]
	unknown   *lru.Cache[string, struct{}]
	revision  int64     // every change up to here is in known
	confirmed time.Time // when that was last the store's state
}

// New returns a cache that knows nothing yet; all of o is needed.
func New[R any](store Store[R], o Options[R]) (*Cache[R], error) {
	known, err := lru.New[string, R](o.Size)
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	unknown, err := lru.New[string, struct{}](o.Size)
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	return &Cache[R]{o: o, store: store, known: known, unknown: unknown, lookups: make(chan struct{}, maxLookups)}, nil
}

// Get returns a record: Options.NotFound when there is none, ErrAway when that
// cannot be told.
func (c *Cache[R]) Get(ctx context.Context, name string) (R, error) {
	if r, err, ok := c.remembered(name); ok {
		return r, err
	}
	// The read is shared by all who ask for the same record, so it must not end with
	// the first one's request.
	ch := c.flight.DoChan(name, func() (any, error) { return c.load(context.WithoutCancel(ctx), name) })
	select {
	case res := <-ch:
		r, _ := res.Val.(R)
		return r, res.Err
	case <-ctx.Done():
		var none R
		return none, context.Cause(ctx)
	}
}

func (c *Cache[R]) remembered(name string) (r R, err error, ok bool) { //nolint:revive // the answer may be an error
	c.mu.Lock()
	defer c.mu.Unlock()
	age := c.o.Clock.Now().Sub(c.confirmed)
	if r, ok := c.known.Get(name); ok && age <= c.o.StaleFor {
		return r, nil, true
	}
	if _, ok := c.unknown.Get(name); ok && age <= freshPolls*c.o.Poll {
		return r, c.o.NotFound, true
	}
	return r, nil, false
}

func (c *Cache[R]) load(ctx context.Context, name string) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var none R
	select {
	case c.lookups <- struct{}{}:
		defer func() { <-c.lookups }()
	case <-ctx.Done():
		return none, ErrAway
	}
	c.mu.Lock()
	before := c.revision
	c.mu.Unlock()
	r, err := c.store.Get(ctx, name)
	if err != nil && !errors.Is(err, c.o.NotFound) {
		c.o.Failed(ctx)
		return none, fmt.Errorf("%w: %w", ErrAway, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// If changes were applied since the read, one of them may have been to this
	// record, and would be lost if the older state were remembered now.
	if c.revision == before {
		if err == nil {
			c.remember(r)
		} else {
			c.unknown.Add(name, struct{}{})
		}
	}
	return r, err
}

// remember keeps the newest state of a record. The lock must be held.
func (c *Cache[R]) remember(r R) {
	name := c.o.Name(r)
	if known, ok := c.known.Peek(name); ok && c.o.Revision(known) > c.o.Revision(r) {
		return
	}
	c.known.Add(name, r)
}

// Edit has change work on every record that is remembered; it reports whether it
// changed it.
func (c *Cache[R]) Edit(change func(R) (R, bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.known.Keys() {
		if r, ok := c.known.Peek(name); ok {
			if r, changed := change(r); changed {
				c.known.Add(name, r)
			}
		}
	}
}

// Forget has a record read anew.
func (c *Cache[R]) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Remove(name)
}

// Apply remembers what this replica has just changed, ahead of the next poll.
func (c *Cache[R]) Apply(r R) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remember(r)
	c.unknown.Remove(c.o.Name(r))
}

// Poll brings what is remembered up to the store's state; ErrLate when that takes too
// long.
func (c *Cache[R]) Poll(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := c.poll(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", ErrLate, err)
	}
	return err
}

func (c *Cache[R]) poll(ctx context.Context) error {
	start := c.o.Clock.Now()
	latest, err := c.store.Revision(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	from := c.revision
	if latest < from {
		// The store is another one, or was put back: nothing remembered counts.
		c.known.Purge()
		c.unknown.Purge()
		c.revision, from = latest, latest
	}
	c.mu.Unlock()
	first := from
	for from < latest {
		changes, err := c.store.Changes(ctx, from, changesAtOnce)
		if err != nil {
			return err
		}
		if len(changes) < changesAtOnce {
			from = latest // not every revision is a record's last
		}
		from = c.applyAll(changes, from)
	}
	if c.o.Besides != nil && first < latest {
		if err := c.o.Besides(ctx, first, latest); err != nil {
			c.mu.Lock()
			c.revision = min(c.revision, first)
			c.mu.Unlock()
			return err
		}
	}
	c.mu.Lock()
	c.confirmed = start
	c.mu.Unlock()
	return nil
}

// applyAll remembers changes and returns the revision reached.
func (c *Cache[R]) applyAll(changes []R, revision int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range changes {
		name := c.o.Name(r)
		if c.known.Contains(name) {
			c.remember(r)
		}
		c.unknown.Remove(name)
		revision = max(revision, c.o.Revision(r))
	}
	c.revision = revision
	return revision
}
