package apikey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/follow"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Manager makes, finds, ends and verifies keys. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	store   Store
	cache   *follow.Cache[Record]
	hasher  Hasher
	clock   clock.Clock
	random  io.Reader
	log     *slog.Logger
	metrics *metrics.Metrics
}

// NewManager returns a manager over store. random is where secrets come from:
// crypto/rand.Reader outside of tests. m may be nil.
func NewManager(ctx context.Context, cfg Config, store Store, c clock.Clock, random io.Reader, log *slog.Logger, m *metrics.Metrics) (*Manager, error) {
	cache, err := newCache(cfg, store, c, m)
	if err != nil {
		return nil, err
	}
	if err := cache.Poll(ctx); err != nil {
		return nil, err
	}
	return &Manager{cfg: cfg, store: store, cache: cache, hasher: NewHasher(cfg.Pepper), clock: c, random: random, log: log, metrics: m}, nil
}

// Wanted is what a new key should be.
type Wanted struct {
	Name, Tenant, Subject string
	Roles, Groups         []string
	// ExpireTime is the zero time for a key that does not end by itself.
	ExpireTime        time.Time
	RequestsPerMinute int32
}

// Create makes a key. An empty subject is made from its id. The returned Key is
// the only place where its text is ever found.
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

func (m *Manager) make(w Wanted) (Record, Key, error) {
	key, err := Generate(m.random)
	if err != nil {
		return Record{}, Key{}, err
	}
	if w.Subject == "" {
		w.Subject = "key-" + key.ID
	}
	return Record{
		ID: key.ID, Name: w.Name, Tenant: w.Tenant, Subject: w.Subject, Roles: w.Roles, Groups: w.Groups,
		Hash: m.hasher.Hash(key), CreateTime: m.clock.Now().Truncate(time.Microsecond),
		ExpireTime: w.ExpireTime.Truncate(time.Microsecond), RequestsPerMinute: w.RequestsPerMinute,
	}, key, nil
}

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
	r, err := m.store.Revoke(ctx, id, m.clock.Now().Truncate(time.Microsecond))
	if err == nil {
		m.cache.Apply(r)
	}
	return r, err
}

// InvalidError says why a key's text was not accepted.
type InvalidError struct {
	Cause Cause
	// ID names the key when its secret was right.
	ID string
}

// Cause is why a key is not accepted.
type Cause string

// The causes.
const (
	Malformed Cause = "malformed"
	Unknown   Cause = "unknown"
	Revoked   Cause = "revoked"
	Expired   Cause = "expired"
)

func (e *InvalidError) Error() string { return "apikey: the key is " + string(e.Cause) }

// Verify returns what is kept of the key whose text is shown. A key that is not
// accepted is an *InvalidError; any other error means that it could not be judged.
func (m *Manager) Verify(ctx context.Context, text string) (Record, error) {
	key, err := Parse(text)
	if err != nil {
		return Record{}, &InvalidError{Cause: Malformed}
	}
	rec, err := m.cache.Get(ctx, key.ID)
	if errors.Is(err, ErrNotFound) {
		return Record{}, &InvalidError{Cause: Unknown}
	}
	if err != nil {
		return Record{}, err
	}
	switch {
	case !m.hasher.Matches(key, rec.Hash):
		return Record{}, &InvalidError{Cause: Unknown}
	case !rec.RevokeTime.IsZero():
		return Record{}, &InvalidError{Cause: Revoked, ID: rec.ID}
	case !rec.ExpireTime.IsZero() && !m.clock.Now().Before(rec.ExpireTime):
		return Record{}, &InvalidError{Cause: Expired, ID: rec.ID}
	}
	return rec, nil
}

// Component returns the part that follows the store's changes.
func (m *Manager) Component() lifecycle.Component {
	return lifecycle.Component{Name: "api keys", Run: func(ctx context.Context) error {
		away := false
		return lifecycle.Every(ctx, m.clock, m.cfg.PollInterval, nil, func(ctx context.Context) error {
			err := m.cache.Poll(ctx)
			if err != nil && ctx.Err() == nil {
				m.metrics.KeyStoreFailure(ctx)
				if !away { // once: it is asked several times a second
					m.log.ErrorContext(ctx, "the store of API keys is away; known keys go on for a while",
						slog.Duration("stale_for", m.cfg.StaleFor), telemetry.Err(err))
				}
			} else if away && err == nil {
				m.log.InfoContext(ctx, "the store of API keys is back")
			}
			away = err != nil
			return nil
		})
	}}
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
