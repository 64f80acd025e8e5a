package route

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// refreshInterval is how often other edges' changes are looked for.
const refreshInterval = 400 * time.Millisecond

// refreshTimeout bounds one look.
const refreshTimeout = 5 * time.Second

// Follower keeps in force what is stored, and what is configured where nothing of
// that name is stored. While the store is away what was read last stays. It is safe
// for concurrent use.
type Follower struct {
	store      Store
	configured []Route
	router     *Router
	clock      clock.Clock
	log        *slog.Logger

	mu       sync.Mutex
	revision int64
	known    []Stored
}

// NewFollower returns a follower that has read the store once. The routes of the
// configuration are router's, complete and checked.
func NewFollower(ctx context.Context, store Store, router *Router) (*Follower, error) {
	f := &Follower{store: store, configured: router.Config.Rules, router: router, clock: router.Clock, log: router.Log, revision: -1}
	err := f.Refresh(ctx)
	return f, err
}

// Refresh reads the routes when there was a change.
func (f *Follower) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	revision, err := f.store.Revision(ctx)
	if err != nil || revision == f.revision {
		return err
	}
	known, err := f.store.List(ctx)
	if err != nil {
		return err
	}
	f.known, f.revision = known, revision
	all := f.all()
	routes := make([]Route, len(all))
	for i, s := range all {
		routes[i] = s.Route
	}
	f.router.Use(routes)
	return nil
}

// all is every route, by name. The lock must be held.
func (f *Follower) all() []Stored {
	out := slices.Clone(f.known)
	for _, r := range f.configured {
		if !slices.ContainsFunc(f.known, func(s Stored) bool { return s.Name == r.Name }) {
			out = append(out, Stored{Route: r})
		}
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// List returns every route, by name: what is kept, and what the configuration has that
// nothing kept hides.
func (f *Follower) List() []Stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all()
}

// Component keeps what is in force in step with the store.
func (f *Follower) Component() lifecycle.Component {
	return lifecycle.Component{Name: "routes in force", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, f.clock, refreshInterval, nil, func(ctx context.Context) error {
			if err := f.Refresh(ctx); err != nil && ctx.Err() == nil {
				f.log.DebugContext(ctx, "the routes cannot be read", telemetry.Err(err)) // tried again; what is known holds
			}
			return nil
		})
	}}
}
