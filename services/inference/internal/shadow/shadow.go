// Package shadow gives copies of requests to another version, and compares the
// answers with those that were shown. A copy has what nobody else wants: it never
// waits, gives its place up as soon as a request has to wait for one, and is not
// charged to the tenant. The request itself is never held up by its copy, and its
// answer is only looked at when both are there. Start reading at Runner.Begin.
package shadow

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Outcome is what came of a copy.
type Outcome string

// The outcomes, as metrics name them.
const (
	// Equal and Different: both answers are whole, and were compared.
	Equal     Outcome = "equal"
	Different Outcome = "different"
	// Unread: both are whole, and at least one of them cannot be read.
	Unread Outcome = "unread"
	// Failed: the copy failed where the request did not.
	Failed Outcome = "failed"
	// Cancelled: the request failed or was cancelled, and its copy with it.
	Cancelled Outcome = "cancelled"
	// Yielded: a request needed the place.
	Yielded Outcome = "yielded"
	// These were not begun: the budget is used up, as many run as may, the body is
	// too large to be kept, or there is no room to spare.
	OverBudget Outcome = "over_budget"
	Busy       Outcome = "busy"
	TooLarge   Outcome = "too_large"
	Saturated  Outcome = "saturated"
)

// Side is one of the two answers.
type Side struct {
	Version *catalog.Version
	// Arm is the one that the request met; "" for the copy.
	Arm string
	// Reason is that of the error; "" when there is an answer.
	Reason apierr.Reason
	Took   time.Duration
	Usage  *commonv1.TokenUsage
	// Bytes is the length of the answer's text.
	Bytes int
}

// Comparison is what is known when both are over.
type Comparison struct {
	Shadow  *catalog.Shadow
	Outcome Outcome
	Request Side
	Copy    Side
	// Similarity is from 0 to 1, where both were read.
	Similarity float64
}

// Router runs requests on workers.
type Router interface {
	Do(ctx context.Context, q *routing.Query, try routing.Try) error
}

// Options is what a Runner needs.
type Options struct {
	Router Router
	Clock  clock.Clock
	// Replica is this process's name to the workers.
	Replica string
	// MaxInFlight bounds the copies that run at once, and Timeout each of them.
	MaxInFlight int
	Timeout     time.Duration
	// Ended is told of every copy, also of those that were not begun, of which only
	// the outcome is known. It must not block.
	Ended func(ctx context.Context, c Comparison)
}

// Runner makes copies. It is safe for concurrent use.
type Runner struct {
	opts    Options
	budgets budgets

	mu      sync.Mutex
	closed  bool
	running map[*Copy]struct{}
	wg      sync.WaitGroup
}

// New returns a runner. Close it when done.
func New(opts Options) *Runner {
	return &Runner{
		opts: opts, running: make(map[*Copy]struct{}),
		budgets: budgets{now: opts.Clock.Now, of: make(map[name]*bucket), swept: opts.Clock.Now()},
	}
}

// maxBody and maxAnswer bound what a copy keeps in memory, in bytes.
const (
	maxBody   = 1 << 20
	maxAnswer = 1 << 20
)

// Begin gives a copy of the request to the shadow's version, if there is room and
// budget, and returns at once. The copy, nil when there is none, is to be told of
// the request's answer and ended; all its methods may be called on nil.
func (r *Runner) Begin(ctx context.Context, target catalog.Target, operation workerv1.Operation, body []byte) *Copy {
	shadow := target.Shadow
	if r == nil || shadow == nil || shadow.Version.Digest == target.Version.Digest {
		return nil
	}
	c := &Copy{
		runner: r, shadow: shadow, began: r.opts.Clock.Now(), done: make(chan struct{}),
		request: Side{Version: target.Version, Arm: target.Arm},
	}
	if why := r.enter(c, len(body)); why != "" {
		r.opts.Ended(ctx, Comparison{Shadow: shadow, Outcome: why, Request: c.request, Copy: Side{Version: shadow.Version}})
		return nil
	}
	// It outlives the request, but not by more than its own time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.Timeout)
	c.cancelBy(cancel)
	go func() {
		defer r.wg.Done()
		defer cancel()
		c.run(ctx, operation, body)
	}()
	return c
}

// enter says why the copy is not made; "" when it is.
func (r *Runner) enter(c *Copy, bytes int) Outcome {
	if bytes > maxBody {
		return TooLarge
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.running) >= r.opts.MaxInFlight {
		return Busy
	}
	if !r.budgets.take(c.shadow) {
		return OverBudget
	}
	r.running[c] = struct{}{}
	r.wg.Add(1)
	return ""
}

func (r *Runner) leave(c *Copy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, c)
}

// Close ends all copies and waits for them.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	for c := range r.running {
		c.stop(Cancelled)
	}
	r.mu.Unlock()
	r.wg.Wait()
}
