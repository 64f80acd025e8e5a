package batch

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// batch is inputs that go to the engine in one call.
type batch struct {
	key    key
	limits engine.EmbedLimits
	items  []item
	flows  []*flow // that the items were taken from; of parts none
	// of is the batch that was refused and that this is a part of, or nil.
	of *refusal

	live   int // callers that still wait for it
	cancel context.CancelFunc
}

// callers returns the callers of the inputs, each once. Those of one caller need
// not lie together.
func (t *batch) callers() []*caller {
	var out []*caller
	seen := make(map[*caller]struct{}, 1)
	for _, it := range t.items {
		if _, has := seen[it.caller]; !has {
			seen[it.caller] = struct{}{}
			out = append(out, it.caller)
		}
	}
	return out
}

// drop leaves out the inputs of callers who do not wait any more.
func (t *batch) drop() {
	kept := make([]item, 0, len(t.items))
	for _, it := range t.items {
		if !it.caller.finished {
			kept = append(kept, it)
		}
	}
	t.items = kept
}

// dispatch gives the engine as many batches as it takes now. The lock is held.
func (b *Batcher) dispatch() {
	for {
		t := b.next()
		if t == nil {
			return
		}
		b.start(t)
	}
}

// next takes the batch that goes now, or returns nil.
func (b *Batcher) next() *batch {
	for len(b.again) > 0 && (b.turnOfAgain || len(b.queue.groups) == 0) {
		t := b.again[len(b.again)-1]
		if t.drop(); len(t.items) > 0 {
			if b.running >= t.limits.Calls {
				return nil
			}
			b.turnOfAgain = false
			b.again = b.again[:len(b.again)-1]
			return t
		}
		b.again = b.again[:len(b.again)-1]
		b.ended(t)
	}
	g := b.queue.first()
	if g == nil || b.running >= g.flows[0].limits.Calls || b.linger(g) {
		return nil
	}
	b.turnOfAgain = true
	return b.queue.take(g, b.cfg.MaxBatchBytes)
}

// lingerShare is the part of a batch's time that the next may wait: little
// against what one that is twice as full saves.
const lingerShare = 4

// linger reports whether the group is better sent a little later, and sees to it
// that it will be.
func (b *Batcher) linger(g *group) bool {
	limit := g.flows[0].limits.Inputs
	if len(g.flows) >= min(b.last.callers, limit) || g.items >= limit || len(b.again) > 0 {
		return false
	}
	wait := min(b.cfg.Linger, b.last.took/lingerShare) - b.clock.Now().Sub(b.last.ended)
	if wait <= 0 {
		return false
	}
	if !b.lingering {
		b.lingering = true
		go b.dispatchIn(wait)
	}
	return true
}

func (b *Batcher) dispatchIn(wait time.Duration) {
	_ = clock.Sleep(context.Background(), b.clock, wait) // which has no end of its own
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lingering = false
	b.dispatch()
}

// start sends a batch. It belongs to all of its callers: it goes on while one of
// them waits.
func (b *Batcher) start(t *batch) {
	now := b.clock.Now()
	callers := t.callers()
	ctx := context.Background()
	if len(callers) == 1 {
		ctx = context.WithoutCancel(callers[0].ctx) // with its request id
	}
	ctx, t.cancel = context.WithCancel(ctx)
	t.live = len(callers)
	for _, c := range callers {
		c.in = append(c.in, t)
		if !c.sent {
			c.sent = true
			b.sees.Waited(now.Sub(c.arrived))
		}
	}
	b.running++
	b.sees.Sent(len(t.items), len(callers))
	go b.run(ctx, t, callers, now)
}

func (b *Batcher) run(ctx context.Context, t *batch, callers []*caller, begun time.Time) {
	defer t.cancel()
	weighing := b.weigh(ctx, t, callers)
	inputs := make([]engine.Input, len(t.items))
	for i, it := range t.items {
		inputs[i] = it.input
	}
	out, err := t.key.engine.Embed(ctx, engine.EmbedRequest{
		Inputs: inputs, InputType: t.key.inputType, Dimensions: t.key.dimensions, Extra: []byte(t.key.extra),
	})
	if err == nil && len(out.Vectors) != len(inputs) {
		err = apierr.New(apierr.EngineFailed, "the engine gave %d embeddings for %d inputs", len(out.Vectors), len(inputs))
	}
	b.mu.Lock()
	b.running--
	b.queue.back(t)
	now := b.clock.Now()
	b.last.ended, b.last.took, b.last.callers = now, now.Sub(begun), len(callers)
	if err != nil {
		b.detach(t, callers)
		b.failed(t, err)
		b.ended(t)
	}
	b.dispatch() //nolint:contextcheck // the next batch belongs to others
	b.mu.Unlock()
	if err != nil {
		return
	}
	weights := weighing.wait(b.clock) // while the engine has its next batch
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detach(t, callers)
	b.done(t, callers, out, weights)
	b.ended(t)
	b.dispatch() //nolint:contextcheck // the next batch belongs to others
}

// detach notes that the batch does not run any more.
func (b *Batcher) detach(t *batch, callers []*caller) {
	for _, c := range callers {
		for i, in := range c.in {
			if in == t {
				c.in = append(c.in[:i:i], c.in[i+1:]...)
				break
			}
		}
	}
}

// done gives the callers what the engine computed.
func (b *Batcher) done(t *batch, callers []*caller, out engine.Embeddings, weights []int64) {
	for i, part := range shares(out.Usage, weights) {
		c := callers[i]
		if c.finished {
			b.sees.Unclaimed(int(part.GetPromptTokens()))
			continue
		}
		c.usage.PromptTokens = add(c.usage.GetPromptTokens(), part.GetPromptTokens())
		c.usage.CachedPromptTokens = add(c.usage.GetCachedPromptTokens(), part.GetCachedPromptTokens())
	}
	for i, it := range t.items {
		c := it.caller
		if c.finished {
			continue
		}
		c.vectors[it.index] = out.Vectors[i]
		if c.left--; c.left == 0 {
			b.finish(c, nil)
		}
	}
	if t.of != nil {
		b.taken(t.of)
	}
}
