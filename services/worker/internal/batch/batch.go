// Package batch gathers the inputs that different callers want embedded by one
// model into calls to its engine, and splits the answers back: each caller gets
// its own vectors, its own share of the usage, and its own error. It knows
// nothing of models and of how engines are spoken to; start reading at Batcher.
//
// An engine that is free is given what there is at once. While it computes,
// what arrives gathers, and goes together when it is free again: the wait is 0
// when the engine is idle and grows with its load alone. Only just after a batch
// of several callers, whose next requests are on their way, may the next batch
// wait a little for them (Config.Linger).
package batch

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Config tunes a Batcher.
type Config struct {
	// Calls is how many batches the engine is given at once; 0 leaves it to the
	// engine.
	Calls int
	// Linger is the longest wait for callers whose last requests were answered
	// together; the wait is a quarter of what their batch took if that is less.
	Linger time.Duration
	// MaxBatchBytes bounds the inputs of one call to the engine, unless there is
	// only one.
	MaxBatchBytes int
	// MaxHeldBytes bounds the inputs of all callers that are not answered yet,
	// unless there is only one.
	MaxHeldBytes int
	// CountTokens has the engine's tokeniser count the inputs of batches that
	// callers share.
	CountTokens bool
}

// Engine is what computes. It must be comparable.
type Engine interface {
	// EmbedLimits returns why the engine cannot do what is asked, or what it takes
	// in one call.
	EmbedLimits(r engine.EmbedRequest) (engine.EmbedLimits, error)
	// Embed computes the inputs, which are within the limits, in one call.
	Embed(ctx context.Context, r engine.EmbedRequest) (engine.Embeddings, error)
}

// Cause is why a batch is sent again in parts.
type Cause string

// The causes.
const (
	// Refused says that the engine found something wrong with the batch.
	Refused Cause = "refused"
	// Failed says that the engine failed on it.
	Failed Cause = "failed"
)

// Observer is told what happens. Its methods must not block.
type Observer interface {
	// Sent is called for each batch that is given to the engine.
	Sent(inputs, callers int)
	// Waited is called when the first of a caller's inputs is sent.
	Waited(d time.Duration)
	// Split is called when a batch is to be sent again in parts.
	Split(cause Cause)
	// Unclaimed is called with tokens that were computed for callers who had left
	// or failed meanwhile.
	Unclaimed(tokens int)
}

// Batcher gathers the inputs for one model. It is safe for concurrent use.
type Batcher struct {
	cfg   Config
	clock clock.Clock
	sees  Observer

	mu    sync.Mutex
	queue queue
	// again is parts of batches that go as they are, the next one last.
	again []*batch
	// turnOfAgain alternates between those and the queue, so that neither waits
	// for all of the other.
	turnOfAgain bool
	running     int // batches
	held        int // bytes of inputs
	last        struct {
		ended   time.Time
		took    time.Duration
		callers int
	}
	lingering bool
}

// New returns a Batcher.
func New(cfg Config, c clock.Clock, sees Observer) *Batcher {
	return &Batcher{cfg: cfg, clock: c, sees: sees, queue: newQueue()}
}

// Embed returns a vector for each input of r. slots is how many requests the
// engine runs at once, for engines that say nothing of calls to embed.
func (b *Batcher) Embed(ctx context.Context, e Engine, r engine.EmbedRequest, slots int) (engine.Embeddings, error) {
	limits, err := e.EmbedLimits(r)
	if err != nil {
		return engine.Embeddings{}, err
	}
	limits.Calls = cmp.Or(b.cfg.Calls, limits.Calls, slots, 1)
	c := newCaller(ctx, r.Inputs, b.clock.Now())
	flows := flowsOf(c, e, r, limits)
	if err := b.enter(c, flows); err != nil { //nolint:contextcheck // a batch belongs to all of its callers
		return engine.Embeddings{}, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		b.leave(c, context.Cause(ctx))
		<-c.done
	}
	if c.err != nil {
		return engine.Embeddings{}, c.err
	}
	return engine.Embeddings{Vectors: c.vectors, Usage: c.usage}, nil
}

func (b *Batcher) enter(c *caller, flows []*flow) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held > 0 && b.held+c.bytes > b.cfg.MaxHeldBytes {
		return apierr.New(apierr.Overloaded, "the inputs that wait to be embedded have %d bytes, and yours %d: the limit is %d",
			b.held, c.bytes, b.cfg.MaxHeldBytes).WithRetryAfter(time.Second)
	}
	b.held += c.bytes
	for _, f := range flows {
		b.queue.add(f)
	}
	b.dispatch()
	return nil
}

// leave takes a caller out that does not wait any more.
func (b *Batcher) leave(c *caller, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish(c, err)
}

// finish answers a caller, once. What of it is not sent yet will not be; what is
// computed for nobody else is given up.
func (b *Batcher) finish(c *caller, err error) {
	if c.finished {
		return
	}
	c.finished, c.err = true, err
	if n := c.usage.GetPromptTokens(); err != nil && n > 0 {
		b.sees.Unclaimed(int(n))
	}
	b.held -= c.bytes
	for _, f := range c.flows {
		b.queue.remove(f)
	}
	for _, t := range c.in {
		if t.live--; t.live == 0 {
			t.cancel()
		}
	}
	c.in = nil
	close(c.done)
}

// caller is one call of Embed. What may change is guarded by the Batcher's lock
// until done is closed, and does not change after that.
type caller struct {
	ctx     context.Context //nolint:containedctx // of the call that waits on this
	arrived time.Time
	bytes   int
	flows   []*flow
	in      []*batch // that run

	sent     bool
	finished bool
	left     int // inputs without a vector
	vectors  [][]float32
	usage    *commonv1.TokenUsage
	err      error
	done     chan struct{}
}

func newCaller(ctx context.Context, inputs []engine.Input, now time.Time) *caller {
	c := &caller{
		ctx: ctx, arrived: now, left: len(inputs), vectors: make([][]float32, len(inputs)),
		usage: &commonv1.TokenUsage{}, done: make(chan struct{}),
	}
	for _, in := range inputs {
		c.bytes += in.Bytes()
	}
	return c
}
