package ban

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// refreshInterval is how often other edges' bans are looked for.
const refreshInterval = 500 * time.Millisecond

// maxQueued bounds the gateway's own bans that wait to be stored; one more holds in
// this edge only.
const maxQueued = 256

// Manager decides about addresses from memory, and keeps bans in a store. All
// methods may be called on a nil Manager, which bans nobody. It is safe for
// concurrent use.
type Manager struct {
	cfg     Config
	store   Store
	clock   clock.Clock
	log     *slog.Logger
	metrics *metrics.Bans
	trusts  func(netip.Addr) bool
	never   []netip.Prefix

	points limit.Charger
	queue  chan Ban

	storing sync.Mutex                 // one change of the store at a time
	lifted  map[netip.Prefix]time.Time // lately, with storing: what was queued before is not stored

	expelMu sync.Mutex
	expel   []func(netip.Prefix) // told of new bans

	mu       sync.RWMutex
	bans     map[netip.Prefix]Ban
	wide     []netip.Prefix            // those that are wider than one address's
	pending  map[netip.Prefix]struct{} // the gateway's own that are in this edge only
	revision int64
}

// NewManager returns a manager that knows what store knows. trusts says which
// addresses are proxies', which are never banned.
func NewManager(ctx context.Context, cfg Config, store Store, c clock.Clock, log *slog.Logger, m *metrics.Bans, trusts func(netip.Addr) bool) (*Manager, error) {
	b := &Manager{
		cfg: cfg, store: store, clock: c, log: log, metrics: m, trusts: trusts, points: limit.NewMemory(c, 4*cfg.Max),
		queue: make(chan Ban, maxQueued), bans: make(map[netip.Prefix]Ban), pending: make(map[netip.Prefix]struct{}), lifted: make(map[netip.Prefix]time.Time), revision: -1,
	}
	for _, s := range cfg.Never {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		b.never = append(b.never, p.Masked())
	}
	err := b.refresh(ctx)
	return b, err
}

// Trusts reports whether an address is a trusted proxy's.
func (m *Manager) Trusts(addr netip.Addr) bool { return m.trusts(addr) }

// Banned reports whether connections of an address are closed.
func (m *Manager) Banned(addr netip.Addr) bool { return m.Left(addr) > 0 }

// OnBan has expel called with every network that is banned from now on. It must
// not wait.
func (m *Manager) OnBan(expel func(network netip.Prefix)) {
	m.expelMu.Lock()
	defer m.expelMu.Unlock()
	m.expel = append(m.expel, expel)
}

func (m *Manager) tell(networks ...netip.Prefix) {
	m.expelMu.Lock()
	defer m.expelMu.Unlock()
	for _, expel := range m.expel {
		for _, n := range networks {
			expel(n)
		}
	}
}

// Left returns how long the ban of an address still holds; 0 without one.
func (m *Manager) Left(addr netip.Addr) time.Duration {
	if m == nil || !addr.IsValid() {
		return 0
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.bans) == 0 {
		return 0
	}
	now := m.clock.Now()
	left := m.bans[unit(addr)].Expire.Sub(now)
	for _, p := range m.wide {
		if p.Contains(addr) {
			left = max(left, m.bans[p].Expire.Sub(now))
		}
	}
	if left <= 0 || m.spared(addr) {
		return 0
	}
	return left
}

// spared reports whether an address is never banned.
func (m *Manager) spared(addr netip.Addr) bool {
	return m.trusts(addr) || slices.ContainsFunc(m.never, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Offend holds a refusal against an address, and bans it when it has too many.
func (m *Manager) Offend(ctx context.Context, addr netip.Addr, cause Cause) {
	if m == nil || m.cfg.Threshold == 0 || !addr.IsValid() || m.spared(addr) {
		return
	}
	cost := 1
	if cause == Firewall {
		cost = m.cfg.FirewallPoints
	}
	network := unit(addr)
	d, err := m.points.Allow(ctx, network.String(), cost, limit.Limit{Amount: m.cfg.Threshold, Period: m.cfg.Window})
	if err != nil || d.Allowed {
		return
	}
	b, ok := m.own(network, cause)
	if !ok {
		return
	}
	m.metrics.Banned(ctx, string(cause))
	m.tell(network)
	m.log.WarnContext(ctx, "an address is banned", slog.String(metrics.KeyAddress, network.String()),
		slog.String(metrics.KeyCause, string(cause)), slog.Time("until", b.Expire))
	select {
	case m.queue <- b:
	default: // it holds here
	}
}

// own bans a network on the gateway's account.
func (m *Manager) own(network netip.Prefix, cause Cause) (Ban, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	old, known := m.bans[network]
	if known && old.Expire.After(now) {
		return Ban{}, false
	}
	if !known && len(m.bans) >= m.cfg.Max {
		return Ban{}, false // the table is full: the limit by address still holds
	}
	b := Ban{Network: network, Reason: string(cause), By: ByGateway, Since: now, Level: 1}
	if known && now.Sub(old.Expire) < m.cfg.Forget {
		b.Level = old.Level + 1
	}
	b.Expire = now.Add(m.length(b.Level))
	m.bans[network], m.pending[network] = b, struct{}{}
	return b, true
}

// length is how long the ban of a level lasts.
func (m *Manager) length(level int) time.Duration {
	d := m.cfg.First
	for ; level > 1 && d < m.cfg.Longest; level-- {
		d *= 2
	}
	return min(d, m.cfg.Longest)
}

// Put bans a network that an administrator names.
func (m *Manager) Put(ctx context.Context, b Ban) error {
	for _, p := range m.never {
		if p.Overlaps(b.Network) {
			return apierr.New(apierr.FailedPrecondition, "%v is never banned (abuse.bans.never)", p).WithField("network")
		}
	}
	if m.trusts(b.Network.Addr()) {
		return apierr.New(apierr.FailedPrecondition, "this is a trusted proxy's network (limits.trusted_proxies)").WithField("network")
	}
	if err := m.store.Put(ctx, b); err != nil {
		return err
	}
	return m.refresh(ctx)
}

// Lift ends a ban, and forgets what led to it.
func (m *Manager) Lift(ctx context.Context, network netip.Prefix) (Ban, error) {
	m.mu.RLock()
	b, ok := m.bans[network]
	m.mu.RUnlock()
	if !ok || !b.Expire.After(m.clock.Now()) {
		return Ban{}, apierr.New(apierr.NotFound, "this network is not banned").WithField("network")
	}
	m.storing.Lock()
	defer m.storing.Unlock()
	if err := m.store.Delete(ctx, network); err != nil {
		return Ban{}, err
	}
	m.lifted[network] = m.clock.Now()
	m.mu.Lock()
	delete(m.bans, network)
	delete(m.pending, network)
	m.mu.Unlock()
	return b, m.refresh(ctx)
}

// liftedKept is how long a lifted ban is remembered: longer than one is queued.
const liftedKept = time.Minute

// put stores a ban of the queue, unless it was lifted meanwhile.
func (m *Manager) put(ctx context.Context, b Ban) error {
	m.storing.Lock()
	defer m.storing.Unlock()
	now := m.clock.Now()
	maps.DeleteFunc(m.lifted, func(_ netip.Prefix, at time.Time) bool { return now.Sub(at) > liftedKept })
	if at, lifted := m.lifted[b.Network]; lifted && !b.Since.After(at) {
		return nil
	}
	return m.store.Put(ctx, b)
}

// List returns the bans that hold, the first to end first.
func (m *Manager) List() []Ban {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.clock.Now()
	out := slices.DeleteFunc(slices.Collect(maps.Values(m.bans)), func(b Ban) bool { return !b.Expire.After(now) })
	slices.SortFunc(out, func(a, b Ban) int {
		if c := a.Expire.Compare(b.Expire); c != 0 {
			return c
		}
		return a.Network.Addr().Compare(b.Network.Addr())
	})
	return out
}

// refresh reads the bans when there was a change.
func (m *Manager) refresh(ctx context.Context) error {
	revision, err := m.store.Revision(ctx)
	if err != nil {
		return err
	}
	m.mu.RLock()
	same := revision == m.revision
	m.mu.RUnlock()
	if same {
		return nil
	}
	now := m.clock.Now()
	list, err := m.store.List(ctx, now.Add(-m.cfg.Forget), m.cfg.Max)
	if err != nil {
		return err
	}
	bans := make(map[netip.Prefix]Ban, len(list))
	var fresh []netip.Prefix
	defer func() { m.tell(fresh...) }() // behind the lock
	var wide []netip.Prefix
	for _, b := range list {
		bans[b.Network] = b
		if b.Network != unit(b.Network.Addr()) {
			wide = append(wide, b.Network)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for network, b := range bans {
		if old, known := m.bans[network]; b.Expire.After(now) && (!known || old.Expire.Before(b.Expire)) {
			fresh = append(fresh, network)
		}
	}
	for network := range m.pending {
		b, ok := m.bans[network]
		if _, stored := bans[network]; stored || !ok || !b.Expire.After(now) {
			delete(m.pending, network)
		} else {
			bans[network] = b
		}
	}
	m.bans, m.wide, m.revision = bans, wide, revision
	return nil
}

// Components keeps the bans of this edge and of the others in step.
func (m *Manager) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "bans", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, m.clock, refreshInterval, nil, func(ctx context.Context) error {
				if err := m.refresh(ctx); err != nil && ctx.Err() == nil {
					m.log.DebugContext(ctx, "the bans cannot be read", telemetry.Err(err)) // tried again; what is known holds
				}
				return nil
			})
		}},
		{Name: "bans of this edge", Run: func(ctx context.Context) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case b := <-m.queue:
					if err := m.put(ctx, b); err != nil && ctx.Err() == nil {
						m.log.DebugContext(ctx, "a ban cannot be stored", telemetry.Err(err)) // it holds in this edge
					}
				}
			}
		}},
	}
}
