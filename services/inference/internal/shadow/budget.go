package shadow

import (
	"sync"
	"time"

	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// budgets are what the shadows of this replica may still use: a bucket of requests
// and one of tokens for each, which fill within a minute. Safe for concurrent use.
type budgets struct {
	now func() time.Time

	mu    sync.Mutex
	of    map[name]*bucket
	swept time.Time
}

// name is a shadow's: its model and its experiment.
type name struct{ model, experiment string }

type bucket struct {
	requests, tokens float64 // that are left; tokens may be below 0
	filled           time.Time
}

// idle is after how long a bucket that nobody used is forgotten; it is full long
// before.
const idle = 5 * time.Minute

// take reports whether another copy may be made, and counts it.
func (b *budgets) take(s *catalog.Shadow) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.bucket(s)
	if s.Requests > 0 && c.requests < 1 || s.Tokens > 0 && c.tokens <= 0 {
		return false
	}
	c.requests--
	return true
}

// use notes the tokens of a copy. More than is left are owed: how long an answer
// gets is known only afterwards.
func (b *budgets) use(s *catalog.Shadow, tokens int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bucket(s).tokens -= float64(tokens)
}

// bucket returns the filled bucket; b.mu is held.
func (b *budgets) bucket(s *catalog.Shadow) *bucket {
	now := b.now()
	if now.Sub(b.swept) > idle {
		b.swept = now
		for n, c := range b.of {
			if now.Sub(c.filled) > idle {
				delete(b.of, n)
			}
		}
	}
	key := name{s.Version.Model, s.Experiment}
	requests, tokens := float64(s.Requests), float64(s.Tokens)
	c := b.of[key]
	if c == nil {
		c = &bucket{requests: requests, tokens: tokens, filled: now}
		b.of[key] = c
	}
	minutes := now.Sub(c.filled).Minutes()
	c.filled = now
	c.requests = min(max(c.requests, 0)+minutes*requests, requests)
	c.tokens = min(c.tokens+minutes*tokens, tokens)
	return c
}
