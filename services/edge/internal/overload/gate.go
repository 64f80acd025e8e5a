// Package overload lets only so many requests be in hand at a service at once, and
// turns away the less urgent ones first. How many is found out: it grows while all is
// well, and shrinks when the service behind says that it is overloaded, or takes too
// long. It knows no requests. Start reading at Gate.
package overload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
)

// ErrShed is the cause of the error of a request that was turned away.
var ErrShed = errors.New("overload: the request was turned away")

// Priority is how urgent a request is.
type Priority int

// The priorities, the least urgent first.
const (
	Batch Priority = iota
	Standard
	Interactive
)

// String is the priority's name, as callers give it.
func (p Priority) String() string {
	switch p {
	case Batch:
		return "batch"
	case Interactive:
		return "interactive"
	case Standard:
		return "standard"
	default:
		return "standard"
	}
}

// Config is the sections "overload", of the models, "search_overload" and
// "registry_overload".
type Config struct {
	// Enabled turns the limit on.
	Enabled bool `yaml:"enabled"`
	// MinLimit and MaxLimit bound how many requests may be in hand at once, and
	// InitialLimit is what it begins with.
	MinLimit     int `yaml:"min_limit"`
	InitialLimit int `yaml:"initial_limit"`
	MaxLimit     int `yaml:"max_limit"`
	// Backoff is what the limit is multiplied by when the service is overloaded.
	Backoff float64 `yaml:"backoff"`
	// SlowAfter is the time to an answer's first piece from which on a request counts as
	// one that met an overloaded service; 0: none does.
	SlowAfter time.Duration `yaml:"slow_after"`
	// BatchShare and StandardShare are the parts of the limit that requests of that
	// priority and below may fill, above 0 and at most 1. What is interactive may fill all.
	BatchShare    float64 `yaml:"batch_share"`
	StandardShare float64 `yaml:"standard_share"`
	// RetryAfter is what those are told that are turned away.
	RetryAfter time.Duration `yaml:"retry_after"`
}

// DefaultConfig is off.
func DefaultConfig() Config {
	return Config{
		MinLimit: 8, InitialLimit: 128, MaxLimit: 4096, Backoff: 0.9, BatchShare: 0.6, StandardShare: 0.9, RetryAfter: time.Second,
	}
}

// DefaultBackendConfig is that of a service whose calls are much alike, so that one which
// takes long says that there are too many: off, too.
func DefaultBackendConfig() Config {
	c := DefaultConfig()
	c.InitialLimit, c.MaxLimit, c.SlowAfter = 64, 1024, 500*time.Millisecond
	return c
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.MinLimit >= 1 && c.MinLimit <= c.InitialLimit, prefix+".min_limit", "must be from 1 to initial_limit, got %d", c.MinLimit)
	p.Check(c.InitialLimit <= c.MaxLimit, prefix+".initial_limit", "must be at most max_limit, got %d", c.InitialLimit)
	p.Check(c.MaxLimit <= 1<<20, prefix+".max_limit", "must be at most 1048576, got %d", c.MaxLimit)
	p.Check(c.Backoff >= 0.5 && c.Backoff < 1, prefix+".backoff", "must be from 0.5 to below 1, got %v", c.Backoff)
	p.Check(c.SlowAfter >= 0 && c.SlowAfter <= time.Hour, prefix+".slow_after", "must be from 0 to 1h, got %v", c.SlowAfter)
	p.Check(c.BatchShare > 0 && c.BatchShare <= c.StandardShare, prefix+".batch_share", "must be above 0 and at most standard_share, got %v", c.BatchShare)
	p.Check(c.StandardShare <= 1, prefix+".standard_share", "must be at most 1, got %v", c.StandardShare)
	p.Check(c.RetryAfter >= 0 && c.RetryAfter <= time.Hour, prefix+".retry_after", "must be from 0 to 1h, got %v", c.RetryAfter)
}

// Observer is told what the gate does.
type Observer interface {
	// Shed counts a request that was turned away.
	Shed(ctx context.Context, priority string)
	// Limit tells how many may be in hand.
	Limit(ctx context.Context, limit int)
}

// Gate is an adaptive limit of requests at once: additive increase, multiplicative
// decrease (Chiu and Jain, 1989), as the AIMDLimit of Netflix's concurrency-limits has
// it for servers. Gradients of latency, as its Gradient2 goes by, say little here: how
// long a model works depends on what it is asked for. It is safe for concurrent use.
type Gate struct {
	cfg     Config
	clock   clock.Clock
	observe Observer

	mu     sync.Mutex
	limit  float64
	inHand int
	// calm is until when the limit does not shrink again: what was in hand when it did
	// fails, too, and says nothing new.
	calm time.Time
}

// calmTime is how long that is.
const calmTime = 500 * time.Millisecond

// New returns a gate.
func New(cfg Config, c clock.Clock, observe Observer) *Gate {
	g := &Gate{cfg: cfg, clock: c, observe: observe, limit: float64(cfg.InitialLimit)}
	observe.Limit(context.Background(), cfg.InitialLimit)
	return g
}

// Enter lets a request in. Whoever was let in says when the answer begins to come, or that
// there is none, and leaves when it has ended.
func (g *Gate) Enter(ctx context.Context, p Priority) (*Visit, error) {
	share := 1.0
	switch p {
	case Batch:
		share = g.cfg.BatchShare
	case Standard:
		share = g.cfg.StandardShare
	case Interactive:
	}
	g.mu.Lock()
	// One of each priority is let in to an empty house, however small that is.
	ok := float64(g.inHand) < max(1, g.limit*share)
	if ok {
		g.inHand++
	}
	g.mu.Unlock()
	if !ok {
		g.observe.Shed(ctx, p.String())
		return nil, apierr.Wrap(apierr.Overloaded, ErrShed, "the gateway has as much in hand as the service behind it can do; try again").
			WithRetryAfter(g.cfg.RetryAfter)
	}
	return &Visit{gate: g, start: g.clock.Now()}, nil
}

// Limit is how many may be in hand, and InHand how many are.
func (g *Gate) Limit() (limit, inHand int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.limit), g.inHand
}

// Visit is one request that was let in.
type Visit struct {
	gate  *Gate
	start time.Time
	long  bool // its time says nothing
	told  bool
	once  sync.Once
}

// Answered notes that the answer begins to come; err is nil, or why there is none. Only
// the first call counts.
func (v *Visit) Answered(ctx context.Context, err error) {
	if v.told {
		return
	}
	v.told = true
	g := v.gate
	took := g.clock.Now().Sub(v.start)
	bad := g.cfg.SlowAfter > 0 && !v.long && took > g.cfg.SlowAfter
	if err != nil {
		//exhaustive:ignore
		switch apierr.ReasonOf(err) {
		case apierr.Overloaded, apierr.DeadlineExceeded:
			bad = true
		default:
			if !bad {
				return // it says nothing of how much there is to do
			}
		}
	}
	g.mu.Lock()
	before := int(g.limit)
	now := v.start.Add(took)
	switch {
	case bad && now.After(g.calm):
		g.limit, g.calm = max(g.limit*g.cfg.Backoff, float64(g.cfg.MinLimit)), now.Add(calmTime)
	case !bad && float64(g.inHand)*2 >= g.limit: // a limit that nobody comes near says nothing
		g.limit = min(g.limit+1/g.limit, float64(g.cfg.MaxLimit)) // by one for each limit's worth of answers
	}
	after := int(g.limit)
	g.mu.Unlock()
	if before != after {
		g.observe.Limit(ctx, after)
	}
}

// Leave gives the place back. It may be called more than once, and by any goroutine.
func (v *Visit) Leave() {
	v.once.Do(func() {
		v.gate.mu.Lock()
		v.gate.inHand--
		v.gate.mu.Unlock()
	})
}
