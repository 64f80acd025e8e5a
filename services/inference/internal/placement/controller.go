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
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
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
	trends  map[string]*trend  // by digest
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
	status   map[string]Status
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
		failing: make(map[spot]time.Time), trends: make(map[string]*trend), held: make(map[spot]time.Time),
		wake: make(chan struct{}, 1), seen: watched.New[*outlook](nil),
	}
}

// Planned returns a channel that is closed at the next look, after which Pending
// may say otherwise.
func (c *Controller) Planned() <-chan struct{} {
	_, changed := c.seen.Watch()
	return changed
}

// Pending notes that the version was asked for and nobody has it. It reports
// whether a worker is about to load it, or whether what would decide that has
// only just changed.
func (c *Controller) Pending(digest string) bool {
	snapshot, _ := c.opts.Catalog.Watch()
	view, _ := c.opts.Views.Watch()
	if snapshot == nil || !snapshot.Serves(digest) {
		return false
	}
	if fresh := c.asking.note(digest, c.opts.Clock.Now()); fresh {
		c.lookAgain()
		return true
	}
	seen := c.seen.Get()
	if seen == nil || seen.snapshot != snapshot || seen.view != view {
		return true
	}
	return seen.hopeful[digest]
}

// Status returns how a version is placed; false when it does not serve.
func (c *Controller) Status(digest string) (Status, bool) {
	seen := c.seen.Get()
	if seen == nil {
		return Status{}, false
	}
	s, ok := seen.status[digest]
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

// look asks for what is missing and for what is too much.
func (c *Controller) look(ctx context.Context, snapshot *catalog.Snapshot, view *fleet.View) {
	now := c.opts.Clock.Now()
	p := c.want(now, snapshot, view)
	hopeful := make(map[string]bool)
	facts := c.facts(now, view, p.wants, hopeful)
	planned := make(map[spot]bool)
	for _, l := range c.plan(now, p.wants, facts, view) {
		hopeful[l.Version.Digest] = true
		if at := (spot{l.Worker.ID(), l.Version.Digest}); c.ripe(at, now) {
			c.load(ctx, l)
		} else {
			planned[at] = true
		}
	}
	forget(c.held, planned)
	c.pin(ctx, p, view, now)
	for _, u := range append(c.reaper.due(now, c.opts.Catalog.Current(), snapshot, view.Workers), c.surplus(now, p, view)...) {
		if blocked, _ := c.unasked.blocked(u.Worker, u.Digest, now, false); !blocked {
			c.unload(ctx, u)
		}
	}
	for digest, s := range p.status {
		if s.Problem == "" && holders(digest, facts) < s.Desired {
			s.Problem = c.asked.problem(digest)
			p.status[digest] = s
		}
	}
	c.seen.Set(&outlook{snapshot: snapshot, view: view, hopeful: hopeful, status: p.status})
}

// plan leaves the workers out that other replicas may not see yet. Before the
// workers of the start were heard, what nobody seems to have may only not have
// been heard of.
func (c *Controller) plan(now time.Time, wants []Want, facts []Facts, view *fleet.View) []Load {
	if !view.Settled {
		return nil
	}
	if c.settled.IsZero() {
		c.settled = now
	}
	c.joined = time.Time{}
	for i := range facts {
		r := facts[i].Worker.Report()
		seen := r.Since.Add(min(c.opts.JoinDelay, 2*r.Away+propagation))
		if facts[i].Usable && r.Since.After(c.settled) && now.Before(seen) {
			facts[i].Usable = false
			if c.joined.IsZero() || seen.Before(c.joined) {
				c.joined = seen
			}
		}
	}
	return c.opts.Planner.Plan(wants, facts)
}

// propagation is about how long what one replica sees takes to be seen by the
// others.
const propagation = 100 * time.Millisecond

// ripe reports whether a planned load is to be asked for now, and holds it back
// for a while when it is new.
func (c *Controller) ripe(at spot, now time.Time) bool {
	if c.opts.Stagger <= 0 {
		return true
	}
	until, ok := c.held[at]
	if !ok {
		until = now.Add(time.Duration(c.opts.Jitter() * float64(c.opts.Stagger)))
		c.held[at] = until
	}
	return !now.Before(until)
}

// facts reads the workers' reports and fills in what was asked already.
func (c *Controller) facts(now time.Time, view *fleet.View, wanted []Want, hopeful map[string]bool) []Facts {
	c.noteFailing(now, view.Workers)
	tol := tolerance{absent: c.opts.AbsentGrace, failed: c.opts.FailedGrace}
	evict := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		evict[w.Version.Digest] = w.Evict
	}
	serves := func(digest string) bool { _, ok := evict[digest]; return ok }
	c.asked.keep(view.Workers, serves)
	loaded := make(map[string]bool)
	for _, w := range view.Workers {
		for _, m := range w.Report().State.GetModels() {
			loaded[m.GetDigest()] = true
		}
	}
	c.unasked.keep(view.Workers, func(digest string) bool { return loaded[digest] })
	out := make([]Facts, 0, len(view.Workers))
	for _, w := range view.Workers {
		id := w.ID()
		f := factsOf(w, now, tol, func(digest string) time.Duration { return now.Sub(c.failing[spot{id, digest}]) })
		for digest, evict := range evict {
			switch blocked, hope := c.asked.blocked(w, digest, now, evict); {
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
