// Package respcache keeps what engines answered, so that the same question is
// answered again without them: in this process, and in a store that edges share. It
// knows nothing of how an answer is made, or of who may have it: the key that its
// user gives names both. Start reading at Cache.
package respcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Deps is what a Cache works with; all but Shared is needed.
type Deps struct {
	Config Config
	// Secret is the deployment's key, of at least 32 bytes, by which what is shared is
	// sealed.
	Secret  []byte
	Purges  *Purges
	Metrics *metrics.Cache
	Clock   clock.Clock
	Log     *slog.Logger
	// Shared is the store that edges share, or nil. Close closes it.
	Shared Shared
}

// Cache keeps answers. It is safe for concurrent use.
type Cache struct {
	Deps
	memory  *memory
	shared  *guarded // nil: there is none
	tallies tallies
	similar *similar
	base    context.Context //nolint:containedctx // of work that no request waits for
	stop    context.CancelFunc

	renewals renewals

	mu      sync.Mutex
	flights map[flightKey]*Flight
	batches map[partKey]*Batch
}

// New returns a cache that has nothing in memory.
func New(ctx context.Context, d Deps) (*Cache, error) {
	memory, err := newMemory(int64(d.Config.MemoryBytes), d.Clock)
	if err != nil {
		return nil, fmt.Errorf("respcache: %w", err)
	}
	c := &Cache{Deps: d, memory: memory, flights: make(map[flightKey]*Flight), batches: make(map[partKey]*Batch), similar: newSimilar()}
	c.base, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	if d.Shared != nil {
		s := &sealer{secret: d.Secret, max: 2*int(d.Config.MaxEntryBytes) + perEntry}
		failed := func(operation string) { d.Metrics.SharedFailed(c.base, operation) }
		c.shared = newGuarded(c.base, d.Shared, s, d.Config.Shared.Timeout, failed) //nolint:contextcheck // its writes outlive requests
	}
	err = d.Metrics.Observe(func() (entries, bytes int64, ratio float64) {
		entries, bytes = c.InMemory()
		return entries, bytes, c.tallies.of(AllTenants).ratio()
	})
	return c, err
}

// Close ends what goes on in the background.
func (c *Cache) Close() error {
	c.stop()
	err := c.Metrics.Close()
	if c.Shared != nil {
		err = errors.Join(err, c.Shared.Close())
	}
	return err
}

// Rule returns what holds for the requests of a tenant to a model, as requests name
// it.
func (c *Cache) Rule(tenant, model string) Rule { return c.Config.rule(tenant, model) }

// The reasons for which a request passes by.
const (
	PassOff        = "off"        // by configuration
	PassDeclined   = "declined"   // the request wants none
	PassNoStore    = "no-store"   // the same, by Cache-Control
	PassNotAsked   = "not-asked"  // and answers differ, or are not kept without
	PassPurges     = "purges"     // what was purged is not known now
	PassUnresolved = "unresolved" // what would answer is not known
	PassCollection = "collection" // the state of the collection is not known
	PassOther      = "other"
)

// Passes returns why a request passes the cache by; empty: it does not.
func (r *Rule) Passes(w Wish, deterministic bool) string {
	switch {
	case r.Use == Off:
		return PassOff
	case w.Use == Off:
		return PassDeclined
	case w.NoStore:
		return PassNoStore
	case w.Use == All || r.Use == All || r.Use == Deterministic && deterministic:
		return ""
	}
	return PassNotAsked
}

// Ask is what a request may be answered with.
type Ask struct {
	Key  Key
	Rule Rule
	Wish Wish
}

// State is what became of a request.
type State string

// The states.
const (
	Hit         State = "hit"
	Miss        State = "miss"
	Stale       State = "stale"
	Bypass      State = "bypass"
	HitSemantic State = "hit-semantic"
)

// Find returns what is kept for a request and is as fresh as it wants it. Stale says
// that it is to be made anew meanwhile.
func (c *Cache) Find(ctx context.Context, a *Ask) (*Entry, State) {
	if a.Wish.NoCache {
		return nil, Miss
	}
	now := c.Clock.Now()
	e, ok := c.memory.get(a.Key)
	if ok {
		if state := a.judge(e, now); state == Hit {
			return e, Hit
		}
	}
	// Another edge may have made it anew.
	if c.shared != nil {
		if other := c.shared.get(ctx, a.Key); other != nil && (e == nil || other.Made.After(e.Made)) {
			if e = other; e.Age(now) < e.TTL+e.Stale && e.Size() <= 2*int(c.Config.MaxEntryBytes) {
				c.memory.set(a.Key, e)
			}
		}
	}
	if e == nil {
		return nil, Miss
	}
	state := a.judge(e, now)
	if state == Miss {
		e = nil
	}
	return e, state
}

// maxShared bounds the keys of one request that the shared store is asked for.
const maxShared = 64

// FindAll returns what is kept under each key and is fresh; nil where nothing is.
func (c *Cache) FindAll(ctx context.Context, a *Ask, keys []Key) []*Entry {
	out := make([]*Entry, len(keys))
	asked := 0
	for i, k := range keys {
		one := *a
		one.Key = k
		e, ok := c.memory.get(k)
		state := Miss
		switch {
		case a.Wish.NoCache:
		case ok:
			state = one.judge(e, c.Clock.Now())
		case c.shared != nil && asked < maxShared:
			asked++
			e, state = c.Find(ctx, &one)
		}
		if state == Hit {
			out[i] = e
		}
	}
	return out
}

// judge says whether an answer is as fresh as is wanted (RFC 9111, 4.2 and 5.2.1;
// RFC 5861, 3).
func (a *Ask) judge(e *Entry, now time.Time) State {
	age, w := e.Age(now), a.Wish
	if w.MaxAge >= 0 && age > w.MaxAge {
		return Miss
	}
	left := e.TTL - age
	if left > 0 && left >= max(w.MinFresh, 0) {
		return Hit
	}
	stale := e.Stale
	if w.Stale >= 0 {
		stale = min(stale, w.Stale)
	}
	switch {
	case w.MinFresh >= 0:
		return Miss
	case -left < stale:
		return Stale
	case w.MaxStale >= 0 && -left <= w.MaxStale && -left < e.Stale:
		return Stale
	}
	return Miss
}

// Keep keeps an answer, unless it is too large, or is not to be kept for any time.
func (c *Cache) Keep(a *Ask, e *Entry) bool {
	e.TTL, e.Stale = a.Rule.TTL, a.Rule.StaleWhileRevalidate
	if a.Wish.TTL >= 0 {
		e.TTL = min(a.Wish.TTL, c.Config.MaxTTL)
	}
	if a.Wish.Stale >= 0 {
		e.Stale = min(a.Wish.Stale, c.Config.MaxTTL)
	}
	if e.TTL <= 0 || e.Size() > 2*int(c.Config.MaxEntryBytes) {
		return false
	}
	e.Made = c.Clock.Now()
	c.renewals.kept(a.Key)
	c.memory.set(a.Key, e)
	if c.shared != nil {
		c.shared.set(a.Key, e)
	}
	return true
}

// flightKey is what may share one answer in the making: requests that hurry do not
// wait with those that do not.
type flightKey struct {
	Key

	streamed bool
	hurry    string
}

// Join has a caller wait for an answer in the making, or begin one: then Leads is
// set, and the caller must call Start or Abandon. Whoever wants a whole answer waits
// for a stream's end too. hurry sets apart those that are not treated alike.
func (c *Cache) Join(a *Ask, streamed bool, hurry string) *Reader {
	key := flightKey{a.Key, streamed, hurry}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Who wants a new answer does not join what may have begun before.
	for _, other := range []flightKey{key, {a.Key, true, hurry}} {
		if f := c.flights[other]; f != nil && !a.Wish.NoCache && f.join() {
			return &Reader{flight: f}
		}
	}
	f := newFlight(int(c.Config.MaxEntryBytes), func(f *Flight) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flights[key] == f {
			delete(c.flights, key)
		}
	})
	c.flights[key] = f
	return &Reader{flight: f, Leads: true}
}

// Abandon says that the caller who leads does not begin.
func (r *Reader) Abandon() {
	r.flight.finish(ErrAbandoned)
	r.Leave()
}

// Start has work make the answer, for everybody who waits, and keep it when it is
// whole; ctx gives work its values and its deadline, and no more: it ends when
// nobody waits, or when the cache is closed.
func (c *Cache) Start(ctx context.Context, r *Reader, work func(ctx context.Context, f *Flight) error, whole func(e *Entry)) {
	detached, cancel := c.detach(ctx)
	f := r.flight
	f.mu.Lock()
	f.stop = cancel
	f.mu.Unlock()
	go func() {
		defer cancel()
		err := work(detached, f)
		if e := f.entry(); e != nil && err == nil {
			whole(e) // before it can be joined no more, so that it is not made twice
		}
		f.finish(err)
	}()
}

// detach returns a context with ctx's values and its deadline, which ends when it is
// cancelled or the cache is closed.
func (c *Cache) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		detached, cancel = context.WithDeadline(detached, deadline)
	} else {
		detached, cancel = context.WithCancel(detached)
	}
	end := context.AfterFunc(c.base, cancel)
	return detached, func() {
		end()
		cancel()
	}
}

// InMemory returns how many answers this process keeps, and the bytes they take.
func (c *Cache) InMemory() (entries, bytes int64) {
	return c.memory.size()
}

// Count counts what became of a request; prompt and completion are the tokens that
// were saved.
func (c *Cache) Count(ctx context.Context, tenant string, s State, reason string, prompt, completion int32) {
	c.Metrics.Count(ctx, string(s), reason, int64(prompt), int64(completion))
	c.tallies.add(tenant, s, int64(prompt), int64(completion))
}

// Lifetime is how old what is given again is, that of several the oldest's, and how long
// it stays fresh, that of several none longer than all of them: whole seconds, as Age and
// Cache-Control have them.
func Lifetime(now time.Time, entries ...*Entry) (age, fresh string) {
	var oldest time.Duration
	left := time.Duration(math.MaxInt64)
	for _, e := range entries {
		oldest, left = max(oldest, e.Age(now)), min(left, e.TTL-e.Age(now))
	}
	return strconv.Itoa(int(oldest / time.Second)), strconv.Itoa(int(max(left, 0) / time.Second))
}
