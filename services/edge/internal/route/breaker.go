package route

import (
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// BreakerConfig says when a model is not asked for a while, where a route has another
// for it. Connections to backends have breakers of their own (package grpcclient).
type BreakerConfig struct {
	// ConsecutiveFailures in a row open it; 0: never.
	ConsecutiveFailures int `yaml:"consecutive_failures"`
	// OpenFor is how long; then one request tries.
	OpenFor time.Duration `yaml:"open_for"`
}

// maxModels bounds the models that are known to fail.
const maxModels = 4096

// breaker knows which models fail, by the names that requests and routes have for them.
// Names that do not fail are not kept, so that callers who make some up fill nothing.
type breaker struct {
	cfg   BreakerConfig
	clock clock.Clock

	mu     sync.Mutex
	models map[string]*health
}

type health struct {
	failures int
	// until is when the next one tries; zero while it is closed.
	until time.Time
	// probing says that somebody does. Whoever that is says so when they are done; that
	// the next one may try after OpenFor is for one who takes longer.
	probing bool
}

func newBreaker(cfg BreakerConfig, c clock.Clock) *breaker {
	return &breaker{cfg: cfg, clock: c, models: make(map[string]*health)}
}

// open reports whether a model is not to be asked now. Nobody tries by it.
func (b *breaker) open(model string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.models[model]
	return h != nil && b.clock.Now().Before(h.until)
}

// allow reports whether a model may be asked. probes says that the caller is the one
// who tries it, and owes what came of that: done, or forget.
func (b *breaker) allow(model string) (may, probes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.models[model]
	if h == nil || h.until.IsZero() {
		return true, false
	}
	now := b.clock.Now()
	if now.Before(h.until) {
		return false, false
	}
	h.probing, h.until = true, now.Add(b.cfg.OpenFor)
	return true, true
}

// done notes whether a model answered, and reports whether it is not asked from now on.
func (b *breaker) done(model string, well bool) (opened bool) {
	if b.cfg.ConsecutiveFailures == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.models[model]
	if well {
		delete(b.models, model)
		return false
	}
	if h == nil {
		if len(b.models) >= maxModels {
			clear(b.models)
		}
		h = new(health)
		b.models[model] = h
	}
	h.failures++
	if h.failures < b.cfg.ConsecutiveFailures && !h.probing {
		return false
	}
	opened = h.until.IsZero()
	h.until, h.probing = b.clock.Now().Add(b.cfg.OpenFor), false
	return opened
}

// forget lets the next one try, where the one who did came to nothing.
func (b *breaker) forget(model string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.models[model]; h != nil && h.probing {
		h.probing, h.until = false, b.clock.Now()
	}
}
