package webhook

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const (
	// atOnce is how many deliveries are under way at a time: one of each webhook, and
	// ofTenant of each tenant's, so that the slow ones of a tenant leave places to others.
	atOnce   = 64
	ofTenant = 4
	// dueAtOnce is how many are looked at: of tenants with something due that many are
	// in turn.
	dueAtOnce = 256
	// grace is for how long more than an attempt lasts a delivery stays that of the edge
	// which has begun it.
	grace = 30 * time.Second
	// factor is by how much each wait is longer than the one before, up to longest.
	factor  = 4
	longest = 8 * time.Hour
	// spread is by what part of it a wait is longer or shorter, at random.
	spread = 0.2
	// kept is for how long deliveries that ended are known, and pruneEvery when those
	// that are older are looked for.
	kept       = 30 * 24 * time.Hour
	pruneEvery = time.Hour
)

// The outcomes of attempts, as the metric has them.
const (
	OutcomeDelivered = "delivered"
	OutcomeFailed    = "failed" // it is tried again
	OutcomeDead      = "dead"   // it is not
)

// DelivererDeps is what a Deliverer works with; all of it is needed.
type DelivererDeps struct {
	Config Config
	Store  *SQLStore
	Sender *Sender
	Clock  clock.Clock
	// Random is from 0 to 1.
	Random func() float64
	// Attempted counts attempts by their outcome.
	Attempted func(ctx context.Context, outcome string)
	Log       *slog.Logger
}

// Deliverer carries deliveries out, each at least once: an edge that is killed while it
// does leaves it to the next one, when the time that it had taken is over.
type Deliverer struct {
	DelivererDeps

	group sync.WaitGroup
	mu    sync.Mutex
	busy  map[string]string // the webhooks that are being told something, and their tenants
	held  map[string]int    // how many of them are each tenant's
}

// NewDeliverer returns a deliverer; its components must run.
func NewDeliverer(d DelivererDeps) *Deliverer {
	return &Deliverer{DelivererDeps: d, busy: make(map[string]string), held: make(map[string]int)}
}

// Components are what delivers.
func (d *Deliverer) Components() []lifecycle.Component {
	warn := func(ctx context.Context, err error) {
		if err != nil && ctx.Err() == nil {
			d.Log.WarnContext(ctx, "webhooks cannot be told; it is tried again", telemetry.Err(err))
		}
	}
	return []lifecycle.Component{
		{Name: "webhooks", Run: func(ctx context.Context) error {
			defer d.group.Wait()
			return lifecycle.Every(ctx, d.Clock, d.Config.PollInterval, d.Random, func(ctx context.Context) error {
				warn(ctx, d.Once(ctx))
				return nil
			})
		}, Stop: func(context.Context) error { d.Sender.Close(); return nil }},
		{Name: "webhooks: retention", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, d.Clock, pruneEvery, d.Random, func(ctx context.Context) error {
				now := d.Clock.Now()
				warn(ctx, d.Store.Prune(ctx, now.Add(-kept), now))
				return nil
			})
		}},
	}
}

// Once begins deliveries that are due. It does not wait for them.
func (d *Deliverer) Once(ctx context.Context) error {
	list, err := d.Store.Due(ctx, d.Clock.Now(), ofTenant, dueAtOnce)
	if err != nil {
		return err
	}
	d.inTurn(list)
	for _, one := range list {
		if !d.begin(&one.hook) {
			continue
		}
		mine, err := d.Store.take(ctx, &one, d.Clock.Now().Add(d.Config.Timeout+grace))
		if err != nil || !mine {
			d.end(&one.hook)
			if err != nil {
				return err
			}
			continue
		}
		d.group.Go(func() {
			defer d.end(&one.hook)
			d.carryOut(ctx, &one)
		})
	}
	return nil
}

// inTurn puts first what is of tenants that hold the fewest places, with those counted
// that come before in the list.
func (d *Deliverer) inTurn(list []DueDelivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	turns, held := make(map[string]int, len(list)), maps.Clone(d.held)
	for i := range list {
		turns[list[i].hook.UID] = held[list[i].hook.Tenant]
		held[list[i].hook.Tenant]++
	}
	slices.SortStableFunc(list, func(a, b DueDelivery) int { return turns[a.hook.UID] - turns[b.hook.UID] })
}

// Wait returns when what was begun has ended.
func (d *Deliverer) Wait() { d.group.Wait() }

// begin takes a place for what a webhook is to be told, and reports whether there was one.
func (d *Deliverer) begin(h *Hook) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, busy := d.busy[h.UID]; busy || len(d.busy) >= atOnce || d.held[h.Tenant] >= ofTenant {
		return false
	}
	d.busy[h.UID] = h.Tenant
	d.held[h.Tenant]++
	return true
}

func (d *Deliverer) end(h *Hook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, h.UID)
	if d.held[h.Tenant]--; d.held[h.Tenant] == 0 {
		delete(d.held, h.Tenant)
	}
}

func (d *Deliverer) carryOut(ctx context.Context, one *DueDelivery) {
	r := d.Sender.Send(ctx, &one.hook, one.event, []byte(one.body))
	if ctx.Err() != nil && !r.OK() {
		return // this edge ends: another one goes on when its time is over
	}
	now := d.Clock.Now()
	o, counted := outcome{state: Pending, next: now, wait: now, result: r}, OutcomeFailed
	switch {
	case r.OK():
		o.state, counted = Delivered, OutcomeDelivered
	case one.attempts+1 >= d.Config.Attempts, r.Status == http.StatusGone:
		o.state, counted = Dead, OutcomeDead
	}
	if !r.OK() {
		// The receiver is left alone for longer the more often it failed, whatever waits
		// for it; one event that it never takes holds the others up for a step at most.
		random := d.Random()
		o.failures = one.failures + 1
		o.next, o.wait = now.Add(d.wait(one.attempts+1, random)), now.Add(d.wait(o.failures, random))
	}
	d.Attempted(ctx, counted)
	if o.state == Dead {
		d.Log.WarnContext(ctx, "an event is not told to a webhook any more: it failed too often", slog.String(metrics.KeyTenant, one.hook.Tenant),
			slog.String("webhook", one.hook.ID), slog.String("event", one.event), slog.Int("status", r.Status))
	}
	// What is taken must be noted even when this edge ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Config.Timeout)
	defer cancel()
	if err := d.Store.finish(ctx, one, o); err != nil {
		d.Log.WarnContext(ctx, "what came of telling a webhook cannot be noted; it is told again", telemetry.Err(err))
	}
}

// wait is until the next attempt, after so many; random is from 0 to 1.
func (d *Deliverer) wait(attempts int, random float64) time.Duration {
	wait := d.Config.Backoff
	for n := 1; n < attempts && wait < longest; n++ {
		wait *= factor
	}
	wait = min(wait, longest)
	return time.Duration(float64(wait) * (1 - spread + 2*spread*random))
}
