package schedule

import (
	"context"
	"math"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/fair"
)

// expect estimates how long a request of a tenant would wait if it came now:
// those ahead of it, at the rate at which this replica's requests end. l.mu is
// held. While nothing was measured yet nobody waits, as far as is known.
func (l *lane) expect(tenant string, class fair.Class) time.Duration {
	ahead := l.queue.Ahead(tenant, class) + 1
	// By Little's law as many requests end in one service time as run at once.
	return seconds(l.pace.Service.Or(0) * float64(ahead) / float64(max(1, l.running)))
}

// limit is how long a request may wait: as long as its class allows, and not so
// long that it cannot be served any more before its deadline. late says that it
// could not even if it did not wait.
func (l *lane) limit(ctx context.Context, class fair.Class, now time.Time) (limit time.Duration, late bool) {
	limit = l.s.opts.MaxWait[class]
	deadline, ok := ctx.Deadline()
	if !ok {
		return limit, false
	}
	left := deadline.Sub(now) - seconds(l.pace.Service.Or(0))
	return min(limit, max(left, 0)), left < 0 && l.running > 0
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt32) * float64(time.Second))
}

// Refusal is why a request was refused.
type Refusal string

// The refusals, as metrics name them.
const (
	// RefusedFull: as many requests wait as may.
	RefusedFull Refusal = "full"
	// RefusedLate: it would wait longer than its class or its deadline allows.
	RefusedLate Refusal = "late"
	// RefusedWaited: it waited as long as it may, and longer than was thought.
	RefusedWaited Refusal = "waited"
	// RefusedDisplaced: another tenant, or a better class, needed its place.
	RefusedDisplaced Refusal = "displaced"
)

func (r Refusal) text() string {
	switch r {
	case RefusedLate:
		return "%s has so many requests waiting that this one would be served too late"
	case RefusedWaited:
		return "%s had no room for this request as long as it may wait"
	case RefusedDisplaced:
		return "%s has more requests waiting than it can hold, and this one gave way to another"
	case RefusedFull:
	}
	return "%s has as many requests waiting as it can hold"
}

// What callers are told to wait, at least and at most.
const (
	leastRetry = time.Second
	mostRetry  = time.Minute
)

func (l *lane) refuse(ctx context.Context, req *Request, why Refusal, after time.Duration) error {
	if l.s.opts.Refused != nil {
		l.s.opts.Refused(ctx, req, why)
	}
	return apierr.New(apierr.Overloaded, why.text(), req.Name).
		WithMetadata("model", req.Name).WithMetadata("why", string(why)).
		WithRetryAfter(min(max(after.Round(time.Second), leastRetry), mostRetry))
}

func (l *lane) waited(ctx context.Context, req *Request, d time.Duration) {
	if l.s.opts.Waited != nil {
		l.s.opts.Waited(ctx, req, d)
	}
}
