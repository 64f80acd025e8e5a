package apikey

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// entry is a key as it is remembered: what it gives its holder is worked out once. It
// is handed out by its address, and not changed any more: a key is some 700 bytes, and
// copies of it on its way up made the stack of every request grow.
type entry struct {
	Record
	access Access
	caller identity.Caller
	made   atomic.Value // what others make of these
}

func entryOf(r Record) *entry {
	return &entry{Record: r, access: r.Access(), caller: r.Caller()}
}

// entries is a store of keys, as they are remembered.
type entries struct{ Store }

func (s entries) Get(ctx context.Context, id string) (*entry, error) {
	r, err := s.Store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return entryOf(r), nil
}

func (s entries) Changes(ctx context.Context, after int64, limit int) ([]*entry, error) {
	changes, err := s.Store.Changes(ctx, after, limit)
	out := make([]*entry, len(changes))
	for i, r := range changes {
		out[i] = entryOf(r)
	}
	return out, err
}

// cache remembers keys of a store by their ids, so that verifying costs no read,
// and follows the accounts that they are of.
type cache struct {
	*follow.Cache[*entry]
	store   Store
	metrics *metrics.Metrics
}

func newCache(cfg Config, store Store, c clock.Clock, m *metrics.Metrics) (*cache, error) {
	out := &cache{store: store, metrics: m}
	var err error
	out.Cache, err = follow.New(entries{store}, follow.Options[*entry]{
		Name: func(e *entry) string { return e.ID }, Revision: func(e *entry) int64 { return e.Revision }, NotFound: ErrNotFound,
		Size: cfg.CacheSize, Poll: cfg.PollInterval, StaleFor: cfg.StaleFor, Clock: c,
		Failed: m.KeyStoreFailure, Besides: out.followAccounts,
	})
	if err != nil {
		return nil, fmt.Errorf("apikey: %w", err)
	}
	return out, nil
}

// apply remembers what this replica has just changed.
func (c *cache) apply(r Record) { c.Apply(entryOf(r)) }

// applyAccount remembers a changed account for all of its keys.
func (c *cache) applyAccount(a Account) {
	c.Edit(func(e *entry) (*entry, bool) {
		if e.ServiceAccount != a.ID || e.Tenant != a.Tenant || e.Account != nil && e.Account.Revision > a.Revision {
			return e, false
		}
		r := e.Record
		r.Account = &a
		return entryOf(r), true
	})
}

// accountsAtOnce bounds one read of changed accounts.
const accountsAtOnce = 500

// followAccounts remembers the accounts that changed after a revision. Keys that
// were read since the caller began have the account as it was then, or later.
func (c *cache) followAccounts(ctx context.Context, from, latest int64) error {
	for from < latest {
		changes, err := c.store.AccountChanges(ctx, from, accountsAtOnce)
		if err != nil {
			return err
		}
		for _, a := range changes {
			c.applyAccount(a)
			from = a.Revision
		}
		if len(changes) < accountsAtOnce {
			return nil
		}
	}
	return nil
}
