// Package session keeps who is logged in to the web pages: in the store that all
// edges share, by the hash of a secret that only the browser has. How somebody logs
// in is not its affair. Start reading at Manager.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const (
	// pruneEvery is how often old sessions are deleted, and keptFor how long they are
	// kept: other edges must see that they have ended.
	pruneEvery = 10 * time.Minute
	keptFor    = time.Hour
	// flushEvery is how often it is written which sessions were used, of at most
	// flushAtOnce of them at once.
	flushEvery  = 2 * time.Second
	flushAtOnce = 1000
	maxAgent    = 200
)

// Manager makes, finds, ends and verifies sessions. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	issuer  string
	store   Store
	cache   *follow.Cache[Record]
	clock   clock.Clock
	random  io.Reader
	log     *slog.Logger
	metrics *metrics.Metrics

	mu      sync.Mutex
	used    map[string]time.Time // by hash: not yet written
	flushed time.Time
}

// Deps is what a Manager works with. All of it is needed but Metrics.
type Deps struct {
	Store Store
	// Issuer is the provider whose sessions are accepted; those of another, which was
	// configured before, are not.
	Issuer  string
	Clock   clock.Clock
	Random  io.Reader // crypto/rand.Reader outside of tests
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// NewManager returns a manager, once the store has answered.
func NewManager(ctx context.Context, cfg Config, d Deps) (*Manager, error) {
	cache, err := follow.New(d.Store, follow.Options[Record]{
		Name: func(r Record) string { return r.Hash }, Revision: func(r Record) int64 { return r.Revision }, NotFound: ErrNotFound,
		Size: cfg.CacheSize, Poll: cfg.PollInterval, StaleFor: cfg.StaleFor, Clock: d.Clock,
		Failed: func(ctx context.Context) { d.Metrics.SessionStoreFailure(ctx) },
	})
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if err := cache.Poll(ctx); err != nil {
		return nil, err
	}
	return &Manager{
		cfg: cfg, issuer: d.Issuer, store: d.Store, cache: cache, clock: d.Clock, random: d.Random, log: d.Log, metrics: d.Metrics,
		used: make(map[string]time.Time),
	}, nil
}

// Create begins a session of a caller, whom the provider calls at. The returned Secret is the only place where
// its text is ever found. The subject's oldest sessions end when there are too many.
func (m *Manager) Create(ctx context.Context, c identity.Caller, at AtProvider, agent, address string) (Record, Secret, error) {
	id, secret, err := generate(m.random)
	if err != nil {
		return Record{}, Secret{}, err
	}
	now := m.now()
	r, err := m.store.Create(ctx, Record{
		ID: id, Hash: secret.hash(), Issuer: m.issuer, Provider: at, Tenant: c.Tenant, Subject: c.Subject, Roles: c.Roles, Groups: groupsOf(c),
		Agent: printable(agent), Address: address,
		CreateTime: now, LastUseTime: now, ExpireTime: now.Add(m.cfg.Lifetime),
	}, m.cfg.MaxPerSubject)
	if err != nil {
		return Record{}, Secret{}, err
	}
	return r, secret, m.Follow(ctx)
}

// groupsOf returns the groups among the caller's principals.
func groupsOf(c identity.Caller) (groups []string) {
	for _, p := range c.Principals {
		if g, ok := strings.CutPrefix(p, "group:"); ok {
			groups = append(groups, g)
		}
	}
	return groups
}

// now is as exact as what the store keeps.
func (m *Manager) now() time.Time { return m.clock.Now().UTC().Truncate(time.Microsecond) }

// printable bounds what a browser calls itself.
func printable(s string) string {
	out := make([]rune, 0, maxAgent)
	for _, r := range s {
		if len(out) == maxAgent {
			break
		}
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			out = append(out, r)
		}
	}
	return string(out)
}

// Cause is why a session is not accepted.
type Cause string

// The causes.
const (
	Malformed Cause = "malformed"
	Unknown   Cause = "unknown"
	Ended     Cause = "revoked"
	Expired   Cause = "expired"
)

// InvalidError says why a session was not accepted.
type InvalidError struct {
	Cause Cause
	// ID names the session when there was one.
	ID string
}

func (e *InvalidError) Error() string { return "session: it is " + string(e.Cause) }

// Verify returns the session of a secret, and notes that it is used. One that is
// not accepted is an *InvalidError; any other error means that it could not be
// judged.
func (m *Manager) Verify(ctx context.Context, secret Secret) (Record, error) {
	hash := secret.hash()
	r, err := m.cache.Get(ctx, hash)
	if errors.Is(err, ErrNotFound) {
		return Record{}, &InvalidError{Cause: Unknown}
	}
	if err != nil {
		return Record{}, err
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.used[hash]; ok && t.After(r.LastUseTime) {
		r.LastUseTime = t
	}
	switch {
	case r.Issuer != m.issuer:
		return Record{}, &InvalidError{Cause: Unknown, ID: r.ID}
	case !r.EndTime.IsZero():
		return Record{}, &InvalidError{Cause: Ended, ID: r.ID}
	case !now.Before(r.ExpireTime) || !now.Before(r.LastUseTime.Add(m.cfg.Idle)):
		return Record{}, &InvalidError{Cause: Expired, ID: r.ID}
	}
	if now.Sub(r.LastUseTime) >= m.cfg.touchEvery() {
		m.used[hash] = now
	}
	return r, nil
}

// Away reports whether err means that the store did not answer.
func Away(err error) bool { return errors.Is(err, follow.ErrAway) }

// Find returns a session by its id; ErrNotFound when there is none, or none any more.
func (m *Manager) Find(ctx context.Context, id string) (Record, error) {
	if !ValidID(id) {
		return Record{}, ErrNotFound
	}
	r, err := m.store.Find(ctx, id)
	now := m.now()
	if err == nil && (!r.EndTime.IsZero() || !now.Before(r.ExpireTime) || !now.Before(r.LastUseTime.Add(m.cfg.Idle))) {
		return Record{}, ErrNotFound
	}
	return r, err
}

// List returns sessions that hold, by id. f needs no Now and no Idle.
func (m *Manager) List(ctx context.Context, f Filter) ([]Record, error) {
	f.Now, f.Idle = m.now(), m.cfg.Idle
	return m.store.List(ctx, f)
}

// End ends a session. This edge knows at once, others with their next poll.
func (m *Manager) End(ctx context.Context, id string) (Record, error) {
	if !ValidID(id) {
		return Record{}, ErrNotFound
	}
	r, err := m.store.End(ctx, id, m.now())
	if err == nil {
		m.cache.Apply(r)
	}
	return r, err
}

// EndAll ends a subject's sessions but the one with the id except, which may be
// empty, and returns how many.
func (m *Manager) EndAll(ctx context.Context, tenant, subject, except string) (int, error) {
	n, err := m.store.EndAll(ctx, tenant, subject, except, m.now())
	if err != nil {
		return 0, err
	}
	return n, m.Follow(ctx)
}

// EndAtProvider ends what the provider says has ended, in a token of the name id that
// is refused from now until then, and returns the sessions that it ended. ErrUsed when
// the token was used before.
func (m *Manager) EndAtProvider(ctx context.Context, at AtProvider, id string, until time.Time) ([]Record, error) {
	name := sha256.Sum256([]byte(m.issuer + "\n" + id))
	ended, err := m.store.EndAtProvider(ctx, ProviderLogout{
		Issuer: m.issuer, At: at, Token: hex.EncodeToString(name[:]), Until: until.UTC().Truncate(time.Microsecond), Time: m.now(),
	})
	for _, r := range ended {
		m.cache.Apply(r)
	}
	return ended, err
}

// Follow brings what is remembered up to the store's state now.
func (m *Manager) Follow(ctx context.Context) error {
	if err := m.cache.Poll(ctx); err != nil {
		return fmt.Errorf("session: follow the store: %w", err)
	}
	return nil
}

// flush writes which sessions were used.
func (m *Manager) flush(ctx context.Context) error {
	m.mu.Lock()
	batch := make(map[string]time.Time, min(len(m.used), flushAtOnce))
	for hash, t := range m.used {
		if len(batch) == flushAtOnce {
			break
		}
		batch[hash] = t
	}
	m.flushed = m.clock.Now()
	m.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if err := m.store.Touch(ctx, batch); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, t := range batch {
		if m.used[hash].Equal(t) {
			delete(m.used, hash)
		}
	}
	return nil
}

// Components returns the parts that follow the store's changes and delete what is
// old.
func (m *Manager) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "sessions", Run: m.run, Drain: m.flush},
		{Name: "sessions: old ones", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, m.clock, pruneEvery, nil, m.prune)
		}},
	}
}

func (m *Manager) run(ctx context.Context) error {
	var outage follow.Outage
	return lifecycle.Every(ctx, m.clock, m.cfg.PollInterval, nil, func(ctx context.Context) error {
		err := m.turn(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		if err != nil {
			m.metrics.SessionStoreFailure(ctx)
		}
		switch outage.Polled(err) {
		case follow.Late:
			m.log.InfoContext(ctx, "the store of sessions is slow to answer; it is asked again", telemetry.Err(err))
		case follow.Away:
			m.log.ErrorContext(ctx, "the store of sessions is away; known ones go on for a while",
				slog.Duration("stale_for", m.cfg.StaleFor), telemetry.Err(err))
		case follow.Back:
			m.log.InfoContext(ctx, "the store of sessions is back")
		case follow.Nothing:
		}
		return nil
	})
}

func (m *Manager) turn(ctx context.Context) error {
	m.mu.Lock()
	due := m.clock.Now().Sub(m.flushed) >= flushEvery
	m.mu.Unlock()
	if due {
		if err := m.flush(ctx); err != nil {
			return err
		}
	}
	return m.cache.Poll(ctx)
}

func (m *Manager) prune(ctx context.Context) error {
	before := m.now().Add(-keptFor)
	n, err := m.store.Prune(ctx, before, before.Add(-m.cfg.Idle))
	if err != nil && ctx.Err() == nil {
		// Tried again with the next turn; nothing depends on it before.
		m.log.ErrorContext(ctx, "old sessions cannot be deleted", telemetry.Err(err))
	} else if n > 0 {
		m.log.InfoContext(ctx, "old sessions deleted", slog.Int64(metrics.KeyRecords, n))
	}
	return nil
}
