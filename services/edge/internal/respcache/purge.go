package respcache

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// AllTenants stands for every tenant in a purge.
const AllTenants = "*"

// Purge says that nothing of what was kept before is answered from any more. An
// empty Model or Collection is every one.
type Purge struct {
	Tenant, Model, Collection string
	// Revision numbers purges; a later one's is greater.
	Revision int64
}

// PurgeStore keeps purges where every edge sees them. Implementations are safe for
// concurrent use.
type PurgeStore interface {
	// Add numbers a purge and keeps it.
	Add(ctx context.Context, p Purge) (Purge, error)
	// Revision returns the number of the last purge.
	Revision(ctx context.Context) (int64, error)
	// After returns purges with numbers above revision, in their order, at most limit.
	After(ctx context.Context, revision int64, limit int) ([]Purge, error)
}

const (
	// pollInterval is how often other edges' purges are looked for.
	pollInterval = 300 * time.Millisecond
	// pollTimeout bounds one look, and freshFor is for how long what it found counts:
	// what may have been purged since is not answered from.
	pollTimeout = 500 * time.Millisecond
	freshFor    = time.Second
	pageSize    = 1000
)

// Purges knows every purge from memory. It is safe for concurrent use.
type Purges struct {
	store PurgeStore
	clock clock.Clock
	log   *slog.Logger

	mu        sync.RWMutex
	last      map[Purge]int64 // by purge, without its number
	revision  int64
	confirmed time.Time
}

// NewPurges returns what the store has.
func NewPurges(ctx context.Context, store PurgeStore, c clock.Clock, log *slog.Logger) (*Purges, error) {
	p := &Purges{store: store, clock: c, log: log, last: make(map[Purge]int64)}
	err := p.Refresh(ctx)
	return p, err
}

// Of returns what names the state of a tenant's answers of a model, which rest on a
// collection unless that is empty: after a purge it is another. false: it is not
// known now.
func (p *Purges) Of(tenant, model, collection string) (string, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.clock.Now().Sub(p.confirmed) > freshFor {
		return "", false
	}
	if len(p.last) == 0 {
		return "0", true
	}
	var n int64
	for _, t := range [2]string{AllTenants, tenant} {
		for _, m := range [2]string{"", model} {
			n = max(n, p.last[Purge{Tenant: t, Model: m}])
			if collection != "" {
				n = max(n, p.last[Purge{Tenant: t, Model: m, Collection: collection}])
			}
		}
	}
	return strconv.FormatInt(n, 10), true
}

// Add purges, in this edge at once and in the others at their next look.
func (p *Purges) Add(ctx context.Context, purge Purge) (Purge, error) {
	done, err := p.store.Add(ctx, purge)
	if err != nil {
		return done, err
	}
	p.apply([]Purge{done}, 0)
	return done, nil
}

// apply notes purges; revision is up to where all are known, 0: no further.
func (p *Purges) apply(purges []Purge, revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range purges {
		n := one.Revision
		one.Revision = 0
		if one.Model == "" && one.Collection == "" {
			for known, at := range p.last { // it covers these
				if known.Tenant == one.Tenant && at < n {
					delete(p.last, known)
				}
			}
		}
		p.last[one] = max(p.last[one], n)
	}
	p.revision = max(p.revision, revision)
}

// Refresh brings what is known up to the store's state.
func (p *Purges) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	began := p.clock.Now()
	latest, err := p.store.Revision(ctx)
	if err != nil {
		return err
	}
	p.mu.RLock()
	from := p.revision
	p.mu.RUnlock()
	for from < latest {
		purges, err := p.store.After(ctx, from, pageSize)
		if err != nil {
			return err
		}
		from = latest // a number may belong to nothing any more
		if len(purges) == pageSize {
			from = purges[len(purges)-1].Revision
		}
		p.apply(purges, from)
	}
	p.mu.Lock()
	p.confirmed = began
	p.mu.Unlock()
	return nil
}

// Component looks for the purges of other edges.
func (p *Purges) Component() lifecycle.Component {
	return lifecycle.Component{Name: "cache purges", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, p.clock, pollInterval, nil, func(ctx context.Context) error {
			if err := p.Refresh(ctx); err != nil && ctx.Err() == nil {
				p.log.DebugContext(ctx, "the cache's purges cannot be read; it is passed by", telemetry.Err(err))
			}
			return nil
		})
	}}
}
