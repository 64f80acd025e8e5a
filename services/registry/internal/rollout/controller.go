package rollout

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Actor is who did what a controller did, in the record of changes.
const Actor = "registry/rollouts"

// atOnce is how many rollouts are looked at at the same time.
const atOnce = 8

// Store is what a controller needs of the store.
type Store interface {
	LeaseStore
	ActiveRollouts(ctx context.Context) ([]*registryv1.Rollout, error)
	RolloutView(ctx context.Context, model, name string) (store.RolloutView, error)
	MoveRollout(ctx context.Context, actor, model, name string, fence *store.Fence, move func(store.RolloutView) (*store.RolloutMove, error)) (*registryv1.Rollout, error)
}

// Options tune a Controller. Zero values take the defaults.
type Options struct {
	Clock clock.Clock
	// Logger is told of what it does; nil discards.
	Logger *slog.Logger
	// Judge is asked what requests came to; nil when nobody counts.
	Judge Judge
	// Holder names this replica among all.
	Holder string
	// Period is the time between two looks, 1 s by default; Lease is how long
	// another replica waits for a sign of life before it goes on, 5 s by default.
	Period, Lease time.Duration
	// Decided is told of every move of this controller.
	Decided func(ctx context.Context, kind registryv1.RolloutEventKind)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Period <= 0 {
		o.Period = time.Second
	}
	if o.Lease <= 0 {
		o.Lease = 5 * time.Second
	}
	if o.Decided == nil {
		o.Decided = func(context.Context, registryv1.RolloutEventKind) {}
	}
	return o
}

// Controller moves rollouts on while it holds the lease.
type Controller struct {
	store  Store
	opts   Options
	tenure tenure
	woken  chan struct{}
	active atomic.Pointer[map[registryv1.RolloutState]int64]
	failed bool // the last look failed, so that the log tells it once
}

// NewController returns a controller of the rollouts in s. It acts once Run is
// called.
func NewController(s Store, opts Options) *Controller {
	opts = opts.withDefaults()
	return &Controller{
		store: s, opts: opts, woken: make(chan struct{}, 1),
		tenure: tenure{store: s, clock: opts.Clock, holder: opts.Holder, ttl: opts.Lease},
	}
}

// Active returns how many rollouts were in each state that is not an end, when the
// controller looked last.
func (c *Controller) Active() map[registryv1.RolloutState]int64 {
	out := map[registryv1.RolloutState]int64{pending: 0, running: 0, paused: 0}
	if counted := c.active.Load(); counted != nil {
		maps.Copy(out, *counted)
	}
	return out
}

// Wake has the controller look soon: there are new figures, or a new rollout. It
// does not wait, and may be called as often as one likes.
func (c *Controller) Wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// looksAPeriod is how many looks there are in a period at most, however often the
// controller is woken.
const looksAPeriod = 10

// rest waits for the next look.
func (c *Controller) rest(ctx context.Context) error {
	soonest := c.opts.Period / looksAPeriod
	if err := clock.Sleep(ctx, c.opts.Clock, soonest); err != nil {
		return err
	}
	timer := c.opts.Clock.NewTimer(c.opts.Period - soonest)
	defer timer.Stop()
	select {
	case <-c.woken:
	case <-timer.C():
	case <-ctx.Done():
	}
	return ctx.Err()
}

// Run looks every period, and sooner when it is woken, until ctx ends, and gives the
// lease back.
func (c *Controller) Run(ctx context.Context) error {
	for {
		err := c.Evaluate(ctx)
		if ctx.Err() == nil {
			c.report(ctx, err)
		}
		if c.rest(ctx) != nil {
			break
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := c.tenure.release(ending); err != nil {
		c.opts.Logger.WarnContext(ctx, "the lease was not given back; others wait for it", slog.Any(metrics.KeyError, err))
	}
	return nil
}

func (c *Controller) report(ctx context.Context, err error) {
	if err != nil && !c.failed {
		c.opts.Logger.ErrorContext(ctx, "rollouts cannot be looked after; trying on", slog.Any(metrics.KeyError, err))
	}
	c.failed = err != nil
}

// Evaluate looks once at every rollout that is not over. It writes nothing while
// there is none, or while another replica holds the lease.
func (c *Controller) Evaluate(ctx context.Context) error {
	list, err := c.store.ActiveRollouts(ctx)
	if err != nil {
		return err
	}
	counted := make(map[registryv1.RolloutState]int64, 3)
	for _, r := range list {
		counted[r.GetState()]++
	}
	c.active.Store(&counted)
	if len(list) == 0 {
		return c.tenure.release(ctx)
	}
	fence, err := c.tenure.hold(ctx)
	if err != nil || fence == nil {
		return err
	}
	// What goes wrong with one must not keep the others.
	errs := make([]error, len(list))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, r := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = c.evaluate(ctx, r, fence)
		})
	}
	all.Wait()
	if slices.ContainsFunc(errs, lostLease) {
		c.tenure.lost()
	}
	return errors.Join(errs...)
}

// evaluate looks at one rollout and moves it. Evidence is asked for outside the
// transaction, and nothing is locked while there is nothing to do; a rollout that
// changed meanwhile is left to the next look.
func (c *Controller) evaluate(ctx context.Context, r *registryv1.Rollout, fence *store.Fence) error {
	log := c.opts.Logger.With(slog.String(metrics.KeyModel, r.GetModel()), slog.String(metrics.KeyRollout, r.GetName()))
	asking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	seen, err := Look(asking, c.opts.Judge, r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// What is not known is not held against the candidate, nor for it.
		log.WarnContext(ctx, "nobody says what the requests came to", slog.Any(metrics.KeyError, err))
	}
	v, err := c.store.RolloutView(ctx, r.GetModel(), r.GetName())
	if err != nil || !lookedAt(r, v) || Decide(v, seen) == nil {
		return err
	}
	var moved *store.RolloutMove
	_, err = c.store.MoveRollout(ctx, Actor, r.GetModel(), r.GetName(), fence, func(v store.RolloutView) (*store.RolloutMove, error) {
		moved = nil
		if lookedAt(r, v) {
			moved = Decide(v, seen)
		}
		return moved, nil
	})
	if err != nil || moved == nil {
		return err
	}
	c.opts.Decided(ctx, moved.Event.GetKind())
	log.InfoContext(ctx, "rollout moved", slog.String(metrics.KeyState, moved.Rollout.GetState().String()),
		slog.Int64(metrics.KeyStep, int64(moved.Rollout.GetStep())), slog.String(metrics.KeyWords, moved.Event.GetWords()))
	return nil
}

// lostLease reports whether a write was refused because another replica acts.
func lostLease(err error) bool {
	e := apierr.From(err)
	return e != nil && e.Reason == apierr.Conflict && e.Field == "lease"
}
