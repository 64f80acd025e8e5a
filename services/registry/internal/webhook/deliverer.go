// Package webhook tells other systems of the registry's changes: it delivers what
// the store has noted for every webhook, in order, signed as the Standard Webhooks
// specification says (https://www.standardwebhooks.com), and tries again for
// hours. It knows the store's messages and nothing of the API. Start reading at
// Deliverer.
package webhook

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Source is what a Deliverer needs of the store.
type Source interface {
	NextMessages(ctx context.Context) ([]store.Message, error)
	Tried(ctx context.Context, f store.Fence, m store.Message, o store.Outcome) error
}

// Options tune a Deliverer. Clock, Logger, Poll, Timeout and Attempts must be set.
type Options struct {
	Clock  clock.Clock
	Logger *slog.Logger
	// Poll is the time between two looks for messages when nothing wakes it.
	Poll time.Duration
	// Timeout bounds one try.
	Timeout time.Duration
	// Attempts is after how many tries a message is given up.
	Attempts int
	// Allowed are addresses that are sent to though they are not public.
	Allowed []netip.Prefix
	// Version names the build to receivers.
	Version string
	// Tried is told the state that every try led to.
	Tried func(ctx context.Context, state registryv1.DeliveryState)
}

// The times between tries: four times as long each time, up to six hours, and up to
// a fifth longer by chance, so that a receiver that comes back is not met by all at
// once. Ten tries take 20 hours.
const (
	firstPause   = 5 * time.Second
	pauseFactor  = 4
	longestPause = 6 * time.Hour
)

// Deliverer delivers the messages of all webhooks: those of one in the order of
// their revisions, one at a time, and those of different ones at once. At least
// once: a message whose delivery could not be noted is sent again under its id.
type Deliverer struct {
	source Source
	opts   Options
	sender *sender
	nudged chan struct{}
}

// New returns a deliverer, which delivers while Run runs.
func New(source Source, opts Options) *Deliverer {
	return &Deliverer{
		source: source, opts: opts, sender: newSender(opts.Clock, opts.Timeout, opts.Allowed, opts.Version),
		nudged: make(chan struct{}, 1),
	}
}

// Wake makes the deliverer look for messages at once. It never blocks.
func (d *Deliverer) Wake() {
	select {
	case d.nudged <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends. Only the holder of the lease that f shows may call
// it.
func (d *Deliverer) Run(ctx context.Context, f store.Fence) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel(nil)
	var (
		mu   sync.Mutex
		busy = make(map[string]bool)
	)
	timer := d.opts.Clock.NewTimer(d.opts.Poll)
	defer timer.Stop()
	failing := false
	for ctx.Err() == nil {
		// Taken before the messages are read: what is being sent while they are may be
		// noted in between, and would be sent again as it was read.
		mu.Lock()
		were := maps.Clone(busy)
		mu.Unlock()
		messages, err := d.source.NextMessages(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			d.opts.Logger.WarnContext(ctx, "messages to webhooks cannot be read", slog.Any(metrics.KeyError, err))
		}
		failing = err != nil
		for _, m := range messages {
			if were[m.Webhook] || m.Due.After(d.opts.Clock.Now()) {
				continue
			}
			mu.Lock()
			busy[m.Webhook] = true
			mu.Unlock()
			sending.Go(func() {
				if err := d.try(ctx, f, m); err != nil && ctx.Err() == nil {
					// Somebody else may hold the lease: to go on would send twice what it sends.
					cancel(err)
				}
				mu.Lock()
				delete(busy, m.Webhook)
				mu.Unlock()
				d.Wake()
			})
		}
		timer.Reset(d.opts.Poll)
		select {
		case <-d.nudged:
		case <-timer.C():
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// try sends a message once and notes what came of it.
func (d *Deliverer) try(ctx context.Context, f store.Fence, m store.Message) error {
	got := d.sender.send(ctx, m)
	if ctx.Err() != nil && got.problem != "" {
		return ctx.Err() // the receiver is not to blame
	}
	o := store.Outcome{Status: got.status, Error: got.problem}
	tries := m.Attempts + 1
	switch {
	case got.problem == "":
		o.State = registryv1.DeliveryState_DELIVERY_STATE_DELIVERED
	case got.status == http.StatusGone:
		o.State, o.Gone = registryv1.DeliveryState_DELIVERY_STATE_DEAD, true
	case tries >= d.opts.Attempts:
		o.State = registryv1.DeliveryState_DELIVERY_STATE_DEAD
	default:
		o.State = registryv1.DeliveryState_DELIVERY_STATE_PENDING
		o.Next = d.opts.Clock.Now().Add(pause(tries, got.retryAfter))
	}
	// Noted even when the process ends meanwhile: otherwise it would be sent again.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.opts.Timeout)
	defer cancel()
	if err := d.source.Tried(noting, f, m, o); err != nil {
		return err
	}
	d.opts.Tried(ctx, o.State)
	if o.State == registryv1.DeliveryState_DELIVERY_STATE_DEAD {
		d.opts.Logger.WarnContext(ctx, "a message to a webhook is given up", slog.String("webhook", m.Webhook),
			slog.Int64(metrics.KeyRevision, m.Revision), slog.String(metrics.KeyError, o.Error))
	}
	return nil
}

// pause is how long to wait after so many tries, or as the receiver asks if that
// is longer.
func pause(tries int, asked time.Duration) time.Duration {
	wait := firstPause
	for range tries - 1 {
		wait = min(wait*pauseFactor, longestPause)
	}
	wait = min(max(wait, asked), longestPause)
	return wait + rand.N(wait/5+1) //nolint:gosec // jitter is no secret
}
