package batches

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Holders looks up whom batches are worked on for.
type Holders interface {
	// Holder returns the holder of an API key as it is now, who may still have batches,
	// from where they asked for it. One who may not is an error of package apierr,
	// Unauthenticated or PermissionDenied; others mean that it could not be judged.
	Holder(ctx context.Context, keyID string, addr netip.Addr) (authn.Principal, error)
}

// RunnerDeps is what a Runner works with; all of it but Metrics is needed.
type RunnerDeps struct {
	Config  Config
	Store   Work
	Files   files.Store
	FileTTL time.Duration
	// Handler answers a line, as it answers a request over HTTP.
	Handler http.Handler
	Holders Holders
	// Wake tells that there may be something to do.
	Wake    <-chan struct{}
	Clock   clock.Clock
	IDs     ids.Source
	Log     *slog.Logger
	Metrics *metrics.Batches
}

// Runner works on batches, beside those of other edges.
type Runner struct {
	RunnerDeps
	holder string
	slots  *slots
	pause  time.Duration // before a line is asked again

	mu      sync.Mutex
	running map[*job]struct{}
}

// NewRunner returns a runner.
func NewRunner(d RunnerDeps) *Runner {
	return &Runner{RunnerDeps: d, holder: d.IDs.New(), slots: newSlots(d.Config.Concurrency), pause: firstPause, running: make(map[*job]struct{})}
}

const (
	// turnTime is how long a batch is worked on before it makes way for one of a tenant
	// of whose batches none is.
	turnTime     = 30 * time.Second
	tidyInterval = time.Minute
	tidyStep     = 500
)

// Components works on batches, and forgets what is not needed any more.
func (r *Runner) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "edge: batches", Run: r.Run},
		{Name: "edge: ended batches", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, r.Clock, tidyInterval, nil, func(ctx context.Context) error {
				r.tidy(ctx)
				return nil
			})
		}},
	}
}

// Run works until ctx ends. What is in hand then is left to whoever takes it up.
func (r *Runner) Run(ctx context.Context) error {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	ended := make(chan struct{}, 1)
	for ctx.Err() == nil {
		for {
			j, ok := r.take(ctx)
			if !ok {
				break
			}
			jobs.Go(func() {
				j.work(ctx)
				r.leave(ctx, j)
				select {
				case ended <- struct{}{}:
				default: // it is told already
				}
			})
		}
		timer := r.Clock.NewTimer(r.Config.Poll)
		select {
		case <-ctx.Done():
		case <-ended:
		case <-r.Wake:
			r.poke()
		case <-timer.C():
			r.makeWay(ctx)
		}
		timer.Stop()
	}
	return nil
}

// take takes up a batch, if there is one and there is room.
func (r *Runner) take(ctx context.Context) (*job, bool) {
	r.mu.Lock()
	full := len(r.running) >= r.Config.MaxRunning
	r.mu.Unlock()
	if full || ctx.Err() != nil {
		return nil, false
	}
	now := r.Clock.Now()
	b, l, err := r.Store.Take(ctx, r.holder, now, now.Add(r.Config.Lease), r.Config.MaxRunningPerTenant)
	if err != nil {
		if !errors.Is(err, ErrNotFound) && ctx.Err() == nil {
			r.Metrics.Failed(ctx)
			r.Log.WarnContext(ctx, "batches cannot be looked for", telemetry.Err(err))
		}
		return nil, false
	}
	j := newJob(r, b, l, now)
	r.mu.Lock()
	r.running[j] = struct{}{}
	r.mu.Unlock()
	r.Metrics.Running(ctx, 1)
	return j, true
}

func (r *Runner) leave(ctx context.Context, j *job) {
	r.mu.Lock()
	delete(r.running, j)
	r.mu.Unlock()
	r.Metrics.Running(ctx, -1)
}

// poke has every batch in hand look at its status.
func (r *Runner) poke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for j := range r.running {
		select {
		case j.poke <- struct{}{}:
		default: // it looks already
		}
	}
}

// makeWay gives back the batch that was in hand the longest when there is no room, and
// a tenant waits of whose batches none is in hand anywhere.
func (r *Runner) makeWay(ctx context.Context) {
	r.mu.Lock()
	var longest *job
	if len(r.running) >= r.Config.MaxRunning {
		for j := range r.running {
			if longest == nil || j.began.Before(longest.began) {
				longest = j
			}
		}
	}
	r.mu.Unlock()
	now := r.Clock.Now()
	if longest == nil || now.Sub(longest.began) < turnTime {
		return
	}
	if starved, err := r.Store.Starved(ctx, now); err == nil && starved {
		longest.stop(errTurn)
	}
}

func (r *Runner) tidy(ctx context.Context) {
	n, err := tidyStep, error(nil)
	for n >= tidyStep && err == nil {
		n, err = r.Store.Tidy(ctx, r.Clock.Now().Add(-r.Config.TTL), tidyStep)
	}
	if err != nil && ctx.Err() == nil {
		r.Log.WarnContext(ctx, "what is left of ended batches could not be forgotten", telemetry.Err(err))
	}
}
