package agent

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// SignalsConfig is how engines are asked for their load.
type SignalsConfig struct {
	// Interval is the time between two readings of one engine; Timeout is how
	// long one may take.
	Interval, Timeout time.Duration
}

// maxMissed is how many readings in a row may fail before the last one counts
// no more.
const maxMissed = 3

// reading is what is known of an engine's load: its own figures, and the rates
// that follow from two readings.
type reading struct {
	engine.Signals

	at                         time.Time
	hitRate                    *float64
	promptRate, generationRate *float64
}

// after works out the rates since the reading before, which is nil for the first
// of an engine's life.
func (r *reading) after(s engine.Signals, at time.Time) *reading {
	next := &reading{Signals: s, at: at, hitRate: s.CacheHitRate, generationRate: s.GenerationRate}
	if r == nil {
		return next
	}
	took := at.Sub(r.at).Seconds()
	next.promptRate = rate(r.PromptTokens, s.PromptTokens, took)
	if next.generationRate == nil {
		next.generationRate = rate(r.GeneratedTokens, s.GeneratedTokens, took)
	}
	if next.hitRate == nil {
		next.hitRate = r.hitRate
		lookups, hits := growth(r.CacheLookups, s.CacheLookups), growth(r.CacheHits, s.CacheHits)
		if lookups != nil && hits != nil && *lookups > 0 {
			share := min(*hits / *lookups, 1)
			next.hitRate = &share
		}
	}
	return next
}

// growth is by how much a counter grew; nil when that is not known, also when
// it began anew.
func growth(before, now *float64) *float64 {
	if before == nil || now == nil || *now < *before {
		return nil
	}
	d := *now - *before
	return &d
}

func rate(before, now *float64, seconds float64) *float64 {
	d := growth(before, now)
	if d == nil || seconds <= 0 {
		return nil
	}
	*d /= seconds
	return d
}

// load is what is known of a model's engine, and for how long that has failed.
type load struct {
	mu     sync.Mutex
	last   *reading
	missed int
}

func (l *load) get() *reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *load) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.missed = nil, 0
}

// note takes a reading and reports whether the figures changed.
func (l *load) note(s engine.Signals, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = 0
	if !s.Told() {
		l.last = nil
		return false
	}
	before := l.last
	l.last = before.after(s, at)
	return before == nil || !same(before.Running, s.Running) || !same(before.Waiting, s.Waiting) || !same(before.KVCacheUsage, s.KVCacheUsage)
}

func same(a, b *float64) bool { return a == b || a != nil && b != nil && *a == *b }

// miss notes a reading that failed, and reports whether it is the first in a
// row.
func (l *load) miss() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missed++; l.missed >= maxMissed {
		l.last = nil
	}
	return l.missed == 1
}

// follow reads the engine's load at every interval while the model is loaded,
// one reading at a time.
func (a *Agent) follow(ctx context.Context, m *model) {
	var of *instance
	for clock.Sleep(ctx, a.parts.Clock, a.cfg.Signals.Interval) == nil {
		life := m.running()
		if life == nil || life != of {
			m.load.forget() // another life: its counters begin anew
			of = life
		}
		if life == nil {
			continue
		}
		a.readLoad(ctx, m, life.engine)
	}
	m.load.forget()
}

func (a *Agent) readLoad(ctx context.Context, m *model, e engine.Engine) {
	limited, cancel := context.WithTimeout(ctx, a.cfg.Signals.Timeout)
	defer cancel()
	signals, err := e.Signals(limited)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		if m.load.miss() {
			a.log.WarnContext(ctx, "engine does not tell its load", slog.String(keyModel, m.name), telemetry.Err(err))
		}
	case m.load.note(signals, a.parts.Clock.Now()):
		a.hub.loadChanged()
	}
}

// tell adds the engine's own figures to the model's state.
func (r *reading) tell(to *workerv1.LoadedModel) {
	if r == nil {
		return
	}
	to.EngineReadTime = timestamppb.New(r.at)
	to.EngineRunning, to.EngineWaiting = whole(r.Running), whole(r.Waiting)
	to.KvCacheUsage, to.PrefixCacheHitRate = r.KVCacheUsage, r.hitRate
	to.PromptTokensPerSecond, to.GenerationTokensPerSecond = r.promptRate, r.generationRate
	if r.MemoryBytes != nil {
		to.MemoryBytes = *r.MemoryBytes
	}
}

func whole(v *float64) *int32 {
	if v == nil {
		return nil
	}
	n := int32(min(max(math.Round(*v), 0), math.MaxInt32))
	return &n
}

func priceOf(p *engine.Price) *workerv1.TokenPrice {
	if p == nil {
		return nil
	}
	return &workerv1.TokenPrice{
		Currency: p.Currency, InputMicros: p.Input, CachedInputMicros: p.CachedInput, OutputMicros: p.Output,
	}
}
