package apikey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const (
	// freshPolls is how many polls may be missed before what is remembered is no
	// longer taken for the store's present state.
	freshPolls    = 4
	changesAtOnce = 500
	storeTimeout  = time.Second
	// maxLookups bounds the reads that keys nobody knows can cause at once.
	maxLookups = 16
)

// errStoreAway says that a key cannot be judged now.
var errStoreAway = errors.New("apikey: the store of API keys does not answer")

// entry is a key as it is remembered: what it gives its holder is worked out once.
type entry struct {
	Record
	access Access
}

func entryOf(r Record) entry { return entry{Record: r, access: r.Access()} }

// cache remembers keys of a store, so that verifying costs no read. One small
// read at every poll tells whether anything changed, and only then the changes
// are read; so the cost does not grow with the number of keys in use.
type cache struct {
	cfg     Config
	store   Store
	clock   clock.Clock
	metrics *metrics.Metrics
	flight  singleflight.Group
	lookups chan struct{}

	mu        sync.Mutex
	known     *lru.Cache[string, entry]
	unknown   *lru.Cache[string, struct{}]
	revision  int64     // every change up to here is in known
	confirmed time.Time // when that was last the store's state
}

func newCache(cfg Config, store Store, c clock.Clock, m *metrics.Metrics) (*cache, error) {
	known, err := lru.New[string, entry](cfg.CacheSize)
	if err != nil {
		return nil, fmt.Errorf("apikey: make the cache: %w", err)
	}
	unknown, err := lru.New[string, struct{}](cfg.CacheSize)
	if err != nil {
		return nil, fmt.Errorf("apikey: make the cache: %w", err)
	}
	return &cache{
		cfg: cfg, store: store, clock: c, metrics: m, known: known, unknown: unknown,
		lookups: make(chan struct{}, maxLookups),
	}, nil
}

// get returns a key: ErrNotFound when there is none, errStoreAway when that
// cannot be told.
func (c *cache) get(ctx context.Context, id string) (entry, error) {
	if r, err, ok := c.remembered(id); ok {
		return r, err
	}
	// The read is shared by all who ask for the same key, so it must not end with
	// the first one's request.
	ch := c.flight.DoChan(id, func() (any, error) { return c.load(context.WithoutCancel(ctx), id) })
	select {
	case res := <-ch:
		r, _ := res.Val.(entry)
		return r, res.Err
	case <-ctx.Done():
		return entry{}, context.Cause(ctx)
	}
}

func (c *cache) remembered(id string) (r entry, err error, ok bool) { //nolint:revive // the answer may be an error
	c.mu.Lock()
	defer c.mu.Unlock()
	age := c.clock.Now().Sub(c.confirmed)
	if r, ok := c.known.Get(id); ok && age <= c.cfg.StaleFor {
		return r, nil, true
	}
	if _, ok := c.unknown.Get(id); ok && age <= freshPolls*c.cfg.PollInterval {
		return entry{}, ErrNotFound, true
	}
	return entry{}, nil, false
}

func (c *cache) load(ctx context.Context, id string) (entry, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	select {
	case c.lookups <- struct{}{}:
		defer func() { <-c.lookups }()
	case <-ctx.Done():
		return entry{}, errStoreAway
	}
	c.mu.Lock()
	before := c.revision
	c.mu.Unlock()
	r, err := c.store.Get(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.metrics.KeyStoreFailure(ctx)
		return entry{}, fmt.Errorf("%w: %w", errStoreAway, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// If changes were applied since the read, one of them may have been to this
	// key, and would be lost if the older state were remembered now.
	if c.revision == before {
		if err == nil {
			c.remember(r)
		} else {
			c.unknown.Add(id, struct{}{})
		}
	}
	return entryOf(r), err
}

// apply remembers what this replica has just changed, ahead of the next poll.
func (c *cache) apply(r Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remember(r)
	c.unknown.Remove(r.ID)
}

// remember keeps the newest state of a key. The lock must be held.
func (c *cache) remember(r Record) {
	if known, ok := c.known.Peek(r.ID); ok && known.Revision > r.Revision {
		return
	}
	c.known.Add(r.ID, entryOf(r))
}

// applyAccount remembers a changed account for all of its keys.
func (c *cache) applyAccount(a Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.known.Keys() {
		e, ok := c.known.Peek(id)
		if !ok || e.ServiceAccount != a.ID || e.Tenant != a.Tenant || e.Account != nil && e.Account.Revision > a.Revision {
			continue
		}
		r := e.Record
		r.Account = &a
		c.known.Add(id, entryOf(r))
	}
}

// forget has a key read anew.
func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Remove(id)
}

// poll brings what is remembered up to the store's state.
func (c *cache) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	start := c.clock.Now()
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
			from = latest // not every revision is a key's last
		}
		from = c.applyAll(changes, from)
	}
	if err := c.followAccounts(ctx, first, latest); err != nil {
		// They are asked for again with the next poll.
		c.mu.Lock()
		c.revision = min(c.revision, first)
		c.mu.Unlock()
		return err
	}
	c.mu.Lock()
	c.confirmed = start
	c.mu.Unlock()
	return nil
}

// followAccounts remembers the accounts that changed after a revision. Keys that
// were read since the caller began have the account as it was then, or later.
func (c *cache) followAccounts(ctx context.Context, from, latest int64) error {
	for from < latest {
		changes, err := c.store.AccountChanges(ctx, from, changesAtOnce)
		if err != nil {
			return err
		}
		for _, a := range changes {
			c.applyAccount(a)
			from = a.Revision
		}
		if len(changes) < changesAtOnce {
			return nil
		}
	}
	return nil
}

// applyAll remembers changes and returns the revision reached.
func (c *cache) applyAll(changes []Record, revision int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range changes {
		if c.known.Contains(r.ID) {
			c.remember(r)
		}
		c.unknown.Remove(r.ID)
		revision = max(revision, r.Revision)
	}
	c.revision = revision
	return revision
}
