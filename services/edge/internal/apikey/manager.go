package apikey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/grant"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Manager makes, finds, changes, ends and verifies keys, and keeps the service
// accounts that they may belong to. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	store   Store
	cache   *cache
	peppers Peppers
	usage   *usage
	clock   clock.Clock
	random  io.Reader
	log     *slog.Logger
}

// NewManager returns a manager over store. random is where secrets come from:
// crypto/rand.Reader outside of tests. m may be nil.
func NewManager(ctx context.Context, cfg Config, peppers Peppers, store Store, c clock.Clock, random io.Reader, log *slog.Logger, m *metrics.Metrics) (*Manager, error) {
	cache, err := newCache(cfg, store, c, m)
	if err != nil {
		return nil, err
	}
	if err := cache.Poll(ctx); err != nil {
		return nil, err
	}
	return &Manager{cfg: cfg, store: store, cache: cache, peppers: peppers, usage: newUsage(), clock: c, random: random, log: log}, nil
}

// Wanted is what a new key should be.
type Wanted struct {
	Name, Tenant, Subject string
	Roles, Groups         []string
	Grant                 grant.Grant
	Owner, Creator        string
	// ServiceAccount is an account of the tenant; empty for none.
	ServiceAccount string
	// ExpireTime is the zero time for a key that does not end by itself.
	ExpireTime        time.Time
	RequestsPerMinute int32
}

// Create makes a key. An empty subject is the service account's, or made from its
// id. The returned Key is the only place where its text is ever found.
func (m *Manager) Create(ctx context.Context, w Wanted) (Record, Key, error) {
	rec, key, err := m.make(w)
	if err != nil {
		return Record{}, Key{}, err
	}
	rec, err = m.store.Create(ctx, rec)
	if err != nil {
		return Record{}, Key{}, err
	}
	return rec, key, nil
}

// AccountSubject is the subject of an account's keys.
func AccountSubject(id string) string { return "service-account." + id }

func (m *Manager) make(w Wanted) (Record, Key, error) {
	key, err := Generate(m.random)
	if err != nil {
		return Record{}, Key{}, err
	}
	if w.ServiceAccount != "" {
		w.Subject = AccountSubject(w.ServiceAccount)
	}
	if w.Subject == "" {
		w.Subject = "key-" + key.ID
	}
	return Record{
		ID: key.ID, Name: w.Name, Tenant: w.Tenant, Subject: w.Subject, Roles: w.Roles, Groups: w.Groups,
		Grant: w.Grant, Owner: w.Owner, Creator: w.Creator, ServiceAccount: w.ServiceAccount,
		Secret: m.peppers.Hash(key), CreateTime: m.now(),
		ExpireTime: w.ExpireTime.Truncate(time.Microsecond), RequestsPerMinute: w.RequestsPerMinute,
	}, key, nil
}

// now is exact to what a store keeps.
func (m *Manager) now() time.Time { return m.clock.Now().Truncate(time.Microsecond) }

// Get returns a key from the store; ErrNotFound when there is none.
func (m *Manager) Get(ctx context.Context, id string) (Record, error) {
	if !validID(id) {
		return Record{}, ErrNotFound
	}
	return m.store.Get(ctx, id)
}

// List returns keys by id.
func (m *Manager) List(ctx context.Context, f Filter) ([]Record, error) { return m.store.List(ctx, f) }

// Revoke ends a key for good. This replica knows at once, others with their
// next poll.
func (m *Manager) Revoke(ctx context.Context, id string) (Record, error) {
	if !validID(id) {
		return Record{}, ErrNotFound
	}
	return m.applied(m.store.Revoke(ctx, id, m.now()))
}

// Update changes what edit changes of a key, which is given as it is now; edit may
// be called again. ErrEnded when it was revoked. This replica knows at once,
// others with their next poll.
func (m *Manager) Update(ctx context.Context, id string, edit func(r *Record) error) (Record, error) {
	if !validID(id) {
		return Record{}, ErrNotFound
	}
	return m.applied(m.store.Update(ctx, id, func(r *Record) error {
		if err := edit(r); err != nil {
			return err
		}
		r.UpdateTime = m.now()
		return nil
	}))
}

// MaxOverlap bounds how long the secret before a rotation goes on.
const MaxOverlap = 90 * 24 * time.Hour

// Rotate gives a key another secret, if allowed has nothing against it as it is.
// The one that it has goes on for overlap, and no longer than the key; one from
// before that ends now, so that there are never more than two.
func (m *Manager) Rotate(ctx context.Context, id string, overlap time.Duration, allowed func(Record) error) (Record, Key, error) {
	if !validID(id) {
		return Record{}, Key{}, ErrNotFound
	}
	key, err := regenerate(m.random, id)
	if err != nil {
		return Record{}, Key{}, err
	}
	rec, err := m.applied(m.store.Update(ctx, id, func(r *Record) error {
		if err := allowed(*r); err != nil {
			return err
		}
		now := m.now()
		r.Previous, r.Secret = r.Secret, m.peppers.Hash(key)
		r.RotateTime, r.PreviousExpireTime = now, now.Add(overlap).Truncate(time.Microsecond)
		return nil
	}))
	if err != nil {
		return Record{}, Key{}, err
	}
	return rec, key, nil
}

func (m *Manager) applied(r Record, err error) (Record, error) {
	if err == nil {
		m.cache.apply(r)
	}
	return r, err
}

// Away reports whether err means that the store did not answer.
func Away(err error) bool { return errors.Is(err, follow.ErrAway) }

// Follow brings what is remembered up to the store's state now.
func (m *Manager) Follow(ctx context.Context) error {
	if err := m.cache.Poll(ctx); err != nil {
		return fmt.Errorf("apikey: follow the store: %w", err)
	}
	return nil
}
