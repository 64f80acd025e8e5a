// Package placement has the versions that serve loaded where they are needed,
// and unloads those that nothing leads to any more, or that are not needed in so
// many places. Every replica does so by itself: loading is an idempotent request
// that the worker admits or refuses. How many workers shall have a version is a
// Policy's and the load's decision, which ones a Planner's; start reading at
// Controller.
package placement

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/watched"
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
	Catalog  Catalog
	Views    Views
	Planner  Planner
	Policies Policies
	Clock    clock.Clock
	Logger   *slog.Logger
	// Interval is the longest time between two looks at the whole.
	Interval time.Duration
	// Stagger is the longest time that a load is held back, by chance: replicas
	// that plan it at the same time and do not see quite the same then see it
	// begun by one of them. 0 holds nothing back.
	Stagger time.Duration
	// JoinDelay is how long at most a worker that came or came back must have been
	// connected to be asked to load something: by then the other replicas see it
	// too. It should be above the longest pause between two tries to connect; after
	// a short absence these pauses are short, and so is the delay. Those that were
	// there at the start are asked at once.
	JoinDelay time.Duration
	// Jitter is the chance in that.
	Jitter lifecycle.Jitter
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
	// TargetUtilization is which share of the slots should be in use: more copies
	// are loaded above it, fewer suffice below.
	TargetUtilization float64
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
	asking  *asking
	reaper  *reaper
	failing map[spot]time.Time
	trends  map[served]*trend
	held    map[spot]time.Time // loads that are held back, and until when
	joined  time.Time          // when the next worker may be asked that came back; zero: none
	settled time.Time          // when all workers of the start were known; zero before
	wake    chan struct{}
	calls   sync.WaitGroup
	seen    *watched.Value[*outlook]
}

// outlook is what the last look found.
type outlook struct {
	snapshot *catalog.Snapshot
	view     *fleet.View
	hopeful  map[string]bool // digests that a worker is about to load
	status   map[served]Status
}

// Status is how a version is placed.
type Status struct {
	// Desired is how many workers should have it, Min and Max what bounds that.
	Desired, Min, Max int
	// Problem says why fewer have it; "" when nothing was refused.
	Problem string
}

// New returns a controller.
func New(opts Options) *Controller {
	return &Controller{
		opts: opts, asked: newAsked(opts.Backoff), unasked: newAsked(opts.Backoff), asking: newAsking(),
		reaper:  newReaper(opts.UnloadAfter, opts.MinLoaded),
		failing: make(map[spot]time.Time), trends: make(map[served]*trend), held: make(map[spot]time.Time),
		wake: make(chan struct{}, 1), seen: watched.New[*outlook](nil),
	}
}

// Planned returns a channel that is closed at the next look, after which Pending
// may say otherwise.
func (c *Controller) Planned() <-chan struct{} {
	_, changed := c.seen.Watch()
	return changed
}

// Problem returns what a worker said that refused a version or a variant, without its
// name; "" when none did.
func (c *Controller) Problem(digest string) string { return c.asked.problem(digest) }

// Pending notes that the version was asked for and nobody has it, or that this
// variant was and no other would do. It reports whether a worker is about to load
// it, or whether what would decide that has only just changed.
func (c *Controller) Pending(digest string, this bool) bool {
	snapshot, _ := c.opts.Catalog.Watch()
	view, _ := c.opts.Views.Watch()
	if snapshot == nil || !snapshot.Serves(digest) {
		return false
	}
	key := digest
	if this {
		key = exact(digest)
	}
	if fresh := c.asking.note(key, c.opts.Clock.Now()); fresh {
		c.lookAgain()
		return true
	}
	seen := c.seen.Get()
	if seen == nil || seen.snapshot != snapshot || seen.view != view {
		return true
	}
	return seen.hopeful[digest]
}

// Status returns how a version is placed for its model; false when it does not
// serve, or nothing is known yet.
func (c *Controller) Status(v *catalog.Version) (Status, bool) {
	seen := c.seen.Get()
	if seen == nil {
		return Status{}, false
	}
	s, ok := seen.status[servedOf(v)]
	return s, ok
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
		timer := c.opts.Clock.NewTimer(c.nextLook())
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

// nextLook is how long nothing needs to be looked at.
func (c *Controller) nextLook() time.Duration {
	wait, now := c.opts.Interval, c.opts.Clock.Now()
	for _, until := range c.held {
		wait = min(wait, max(until.Sub(now), 0))
	}
	if !c.joined.IsZero() {
		wait = min(wait, max(c.joined.Sub(now), 0))
	}
	return wait
}

func (c *Controller) lookAgain() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
