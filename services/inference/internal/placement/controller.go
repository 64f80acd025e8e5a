// Package placement has the versions that serve loaded where they are needed,
// and unloads those that nothing leads to any more. Every replica does so by
// itself: loading is an idempotent request that the worker admits or refuses.
// Which worker gets what is a Planner's decision; start reading at Controller.
package placement

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// Catalog is what is known of the registry.
type Catalog interface {
	// Watch returns the last snapshot, nil before the first, and a channel that
	// is closed once there is another.
	Watch() (*catalog.Snapshot, <-chan struct{})
	// Current reports whether the snapshot is the registry's present state.
	Current() bool
}

// Views is what is known of the workers.
type Views interface {
	Watch() (*fleet.View, <-chan struct{})
}

// Options is what a Controller needs.
type Options struct {
	Catalog Catalog
	Views   Views
	Planner Planner
	Clock   clock.Clock
	Logger  *slog.Logger
	// Interval is the longest time between two looks at the whole.
	Interval time.Duration
	// CallTimeout bounds one question to a worker.
	CallTimeout time.Duration
	// Backoff spaces the questions after a refusal.
	Backoff backoff.Policy
	// AbsentGrace and FailedGrace are how long a version counts as held while
	// its worker is away, or its engine fails.
	AbsentGrace, FailedGrace time.Duration
	// UnloadAfter is how long nothing must lead to a version before it is
	// unloaded, and MinLoaded how long it must have been loaded.
	UnloadAfter, MinLoaded time.Duration
	// Asked, when set, is told the outcome of every question.
	Asked func(ctx context.Context, what string, reason apierr.Reason)
}

// The questions, as Options.Asked is told of them.
const (
	AskLoad   = "load"
	AskUnload = "unload"
)

// Controller compares what must be served with what is, and asks workers for
// the difference.
type Controller struct {
	opts    Options
	asked   *asked
	unasked *asked // unloads
	reaper  *reaper
	failing map[spot]time.Time
	wake    chan struct{}
	calls   sync.WaitGroup
	seen    atomic.Pointer[outlook]
}

// outlook is what the last look found.
type outlook struct {
	snapshot *catalog.Snapshot
	view     *fleet.View
	hopeful  map[string]bool // digests that a worker is about to load
}

// New returns a controller.
func New(opts Options) *Controller {
	return &Controller{
		opts: opts, asked: newAsked(opts.Backoff), unasked: newAsked(opts.Backoff),
		reaper:  newReaper(opts.UnloadAfter, opts.MinLoaded),
		failing: make(map[spot]time.Time), wake: make(chan struct{}, 1),
	}
}

// Pending reports whether a worker is about to load the version, or whether
// what would decide that has only just changed.
func (c *Controller) Pending(digest string) bool {
	snapshot, _ := c.opts.Catalog.Watch()
	view, _ := c.opts.Views.Watch()
	seen := c.seen.Load()
	if seen == nil || seen.snapshot != snapshot || seen.view != view {
		return snapshot != nil && snapshot.Serves(digest)
	}
	return seen.hopeful[digest]
}

// Run looks whenever something changed, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer c.calls.Wait()
	defer cancel()
	for {
		snapshot, snapshotChanged := c.opts.Catalog.Watch()
		view, viewChanged := c.opts.Views.Watch()
		c.look(ctx, snapshot, view)
		timer := c.opts.Clock.NewTimer(c.opts.Interval)
		select {
		case <-snapshotChanged:
		case <-viewChanged:
		case <-c.wake:
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// look asks for what is missing and for what is too much.
func (c *Controller) look(ctx context.Context, snapshot *catalog.Snapshot, view *fleet.View) {
	now := c.opts.Clock.Now()
	var wanted []*catalog.Version
	if snapshot != nil {
		wanted = snapshot.Serving()
	}
	hopeful := make(map[string]bool)
	facts := c.facts(now, view, wanted, hopeful)
	for _, l := range c.opts.Planner.Plan(wanted, facts) {
		hopeful[l.Version.Digest] = true
		c.load(ctx, l)
	}
	for _, u := range c.reaper.due(now, c.opts.Catalog.Current(), snapshot, view.Workers) {
		if blocked, _ := c.unasked.blocked(u.Worker, u.Digest, now); !blocked {
			c.unload(ctx, u)
		}
	}
	c.seen.Store(&outlook{snapshot: snapshot, view: view, hopeful: hopeful})
}

// facts reads the workers' reports and fills in what was asked already.
func (c *Controller) facts(now time.Time, view *fleet.View, wanted []*catalog.Version, hopeful map[string]bool) []Facts {
	c.noteFailing(now, view.Workers)
	tol := tolerance{absent: c.opts.AbsentGrace, failed: c.opts.FailedGrace}
	digests := make(map[string]bool, len(wanted))
	for _, v := range wanted {
		digests[v.Digest] = true
	}
	c.asked.keep(view.Workers, func(digest string) bool { return digests[digest] })
	c.unasked.keep(view.Workers, func(digest string) bool { return !digests[digest] })
	out := make([]Facts, 0, len(view.Workers))
	for _, w := range view.Workers {
		id := w.ID()
		f := factsOf(w, now, tol, func(digest string) time.Duration { return now.Sub(c.failing[spot{id, digest}]) })
		for digest := range digests {
			switch blocked, hope := c.asked.blocked(w, digest, now); {
			case hope && f.Usable:
				f.Holds[digest], hopeful[digest] = true, true
			case blocked:
				f.Blocked[digest] = true
			}
		}
		out = append(out, f)
	}
	return out
}

// noteFailing keeps since when each version fails on each worker.
func (c *Controller) noteFailing(now time.Time, workers []*fleet.Worker) {
	present := make(map[spot]bool)
	for _, w := range workers {
		for _, m := range w.Report().State.GetModels() {
			if m.GetState() != workerv1.ModelState_MODEL_STATE_FAILED {
				continue
			}
			at := spot{w.ID(), m.GetDigest()}
			present[at] = true
			if _, ok := c.failing[at]; !ok {
				c.failing[at] = now
			}
		}
	}
	forget(c.failing, present)
}

func (c *Controller) load(ctx context.Context, l Load) {
	name := l.Version.Name
	c.asked.begin(l.Worker, l.Version.Digest)
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, c.opts.CallTimeout)
		defer cancel()
		_, err := l.Worker.Client().LoadModel(ctx, &workerv1.LoadModelRequest{
			Digest: l.Version.Digest, Name: name, Spec: l.Version.Spec,
		})
		wait := c.asked.end(l.Worker, l.Version.Digest, c.opts.Clock.Now(), err != nil)
		c.answered(ctx, AskLoad, name, l.Worker, wait, err)
	})
}

func (c *Controller) unload(ctx context.Context, u Unload) {
	c.unasked.begin(u.Worker, u.Digest)
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, c.opts.CallTimeout)
		defer cancel()
		_, err := u.Worker.Client().UnloadModel(ctx, &workerv1.UnloadModelRequest{Digest: u.Digest})
		wait := c.unasked.end(u.Worker, u.Digest, c.opts.Clock.Now(), err != nil)
		c.answered(ctx, AskUnload, u.Digest, u.Worker, wait, err)
	})
}

// answered records an answer and has the whole looked at again: what one worker
// refuses another may take.
func (c *Controller) answered(ctx context.Context, what, name string, w *fleet.Worker, wait time.Duration, err error) {
	if c.opts.Asked != nil {
		c.opts.Asked(ctx, what, apierr.ReasonOf(err))
	}
	attrs := []slog.Attr{slog.String("what", what), slog.String("model", name), slog.String("worker", w.ID())}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err), slog.Duration("again_in", wait))
		c.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the worker refused", attrs...)
	} else {
		c.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "the worker agreed", attrs...)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
