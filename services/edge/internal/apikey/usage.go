package apikey

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/follow"
)

// useInterval is how often last uses are written, and to what they are exact.
const useInterval = time.Minute

// The bounds on what waits to be written.
const (
	maxUses     = 1 << 16
	maxRehashes = 1 << 10
)

// usage gathers what verifying a key leaves to be written, so that no request
// waits for a write.
type usage struct {
	mu       sync.Mutex
	uses     map[string]time.Time
	rehashes map[string]rehash
}

type rehash struct{ from, to Hash }

func newUsage() *usage {
	return &usage{uses: make(map[string]time.Time), rehashes: make(map[string]rehash)}
}

// note notes that a key was used. Beyond maxUses keys none is added: their next use
// will be.
func (u *usage) note(id string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.uses[id]; ok || len(u.uses) < maxUses {
		if minute := now.Truncate(useInterval); minute.After(last) {
			u.uses[id] = minute
		}
	}
}

// rehash notes that a hash is to be made anew.
func (u *usage) rehash(id string, from, to Hash) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.rehashes) < maxRehashes {
		u.rehashes[id] = rehash{from, to}
	}
}

// take returns what waits, of which nothing is left.
func (u *usage) take() (map[string]time.Time, map[string]rehash) {
	u.mu.Lock()
	defer u.mu.Unlock()
	uses, rehashes := u.uses, u.rehashes
	u.uses, u.rehashes = make(map[string]time.Time), make(map[string]rehash)
	return uses, rehashes
}

// back puts uses back that could not be written.
func (u *usage) back(uses map[string]time.Time) {
	for id, t := range uses {
		u.note(id, t)
	}
}

// WriteUsage writes when keys were last used, and hashes anew what was not hashed
// with the current pepper. What fails is tried again with the next call.
func (m *Manager) WriteUsage(ctx context.Context) error {
	uses, rehashes := m.usage.take()
	if len(uses) > 0 {
		if err := m.store.Used(ctx, uses); err != nil {
			m.usage.back(uses)
			return err
		}
	}
	for id, r := range rehashes {
		if _, err := m.store.Rehash(ctx, id, r.from, r.to); err != nil {
			return err // its next use brings it again
		}
		m.cache.Forget(id)
	}
	return nil
}

// Components returns the parts that work in the background: one follows the
// store's changes, one writes what uses leave.
func (m *Manager) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "api keys: last uses", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, m.clock, useInterval, nil, func(ctx context.Context) error {
				if err := m.WriteUsage(ctx); err != nil && ctx.Err() == nil {
					m.log.WarnContext(ctx, "the last uses of API keys cannot be written now", telemetry.Err(err))
				}
				return nil
			})
		}, Stop: m.WriteUsage},
		{Name: "api keys", Run: m.follow},
	}
}

func (m *Manager) follow(ctx context.Context) error {
	var outage follow.Outage
	return lifecycle.Every(ctx, m.clock, m.cfg.PollInterval, nil, func(ctx context.Context) error {
		err := m.cache.Poll(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		if err != nil {
			m.cache.metrics.KeyStoreFailure(ctx)
		}
		switch outage.Polled(err) {
		case follow.Late:
			m.log.InfoContext(ctx, "the store of API keys is slow to answer; it is asked again", telemetry.Err(err))
		case follow.Away:
			m.log.ErrorContext(ctx, "the store of API keys is away; known keys go on for a while",
				slog.Duration("stale_for", m.cfg.StaleFor), telemetry.Err(err))
		case follow.Back:
			m.log.InfoContext(ctx, "the store of API keys is back")
		case follow.Nothing:
		}
		return nil
	})
}
