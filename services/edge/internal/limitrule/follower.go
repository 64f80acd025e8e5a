package limitrule

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
	configured []Owned
	engine     *Engine
	clock      clock.Clock
	log        *slog.Logger

	mu       sync.Mutex
	revision int64
	known    []Stored
}

// NewFollower returns a follower that has read the store once. configured is the
// platform's rules of the configuration, complete and checked.
func NewFollower(ctx context.Context, store Store, configured []Rule, e *Engine, c clock.Clock, log *slog.Logger) (*Follower, error) {
	f := &Follower{store: store, engine: e, clock: c, log: log, revision: -1}
	for _, r := range configured {
		f.configured = append(f.configured, Owned{Rule: r})
	}
	err := f.Refresh(ctx)
	return f, err
}

// Refresh reads the limits when there was a change.
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
	slices.SortFunc(known, func(a, b Stored) int { return a.compare(b.Tenant, b.Name) }) // databases differ in their order
	f.known, f.revision = known, revision
	f.engine.Use(f.rules())
	return nil
}

// rules is what is in force. The lock must be held.
func (f *Follower) rules() []Owned {
	out := make([]Owned, 0, len(f.known)+len(f.configured))
	for _, r := range f.configured {
		if !f.hidden(r.Name) {
			out = append(out, r)
		}
	}
	for _, s := range f.known {
		out = append(out, s.Owned)
	}
	return out
}

// hidden reports whether the platform stores a limit of the name, which hides that of
// the configuration. The lock must be held.
func (f *Follower) hidden(name string) bool {
	_, ok := slices.BinarySearchFunc(f.known, name, func(s Stored, name string) int { return s.compare("", name) })
	return ok
}

func (s *Stored) compare(tenant, name string) int {
	if c := strings.Compare(s.Tenant, tenant); c != 0 {
		return c
	}
	return strings.Compare(s.Name, name)
}

// List returns the limits of a tenant, by name; the platform's with those of the
// configuration that nothing stored hides, which have the version 0.
func (f *Follower) List(tenant string) []Stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Stored
	for _, s := range f.known {
		if s.Tenant == tenant {
			out = append(out, s)
		}
	}
	if tenant == "" {
		for _, r := range f.configured {
			if !f.hidden(r.Name) {
				out = append(out, Stored{Owned: r})
			}
		}
		slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// Component keeps what is in force in step with the store.
func (f *Follower) Component() lifecycle.Component {
	return lifecycle.Component{Name: "limits in force", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, f.clock, refreshInterval, nil, func(ctx context.Context) error {
			if err := f.Refresh(ctx); err != nil && ctx.Err() == nil {
				f.log.DebugContext(ctx, "the limits cannot be read", telemetry.Err(err)) // tried again; what is known holds
			}
			return nil
		})
	}}
}
