package batch

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Counter is an engine whose tokeniser can be asked: it counts the prompt of a
// completion, which is what texts to embed are to it. Engines that cannot answer
// with an error.
type Counter interface {
	CountTokens(ctx context.Context, op engine.Operation, body []byte) (int, error)
}

const (
	// countsAtOnce is how many inputs of a batch the engine counts at a time.
	countsAtOnce = 4
	// countGrace is how much longer than the vectors the counts may take.
	countGrace = 50 * time.Millisecond
	// marks is about the bytes of a text that the marks around an input are worth
	// in tokens.
	marks = 8
)

// weights is by what a batch's usage is shared among its callers.
type weights struct {
	measured []int64
	counted  []int64
	done     chan struct{} // closed when counting is over; nil when it is not begun
	whole    bool          // everything was counted; read after done
	cancel   context.CancelFunc
}

// weigh measures the callers' inputs, and begins to count them with the engine's
// tokeniser if it has one. A batch of one caller needs neither.
func (b *Batcher) weigh(ctx context.Context, t *batch, callers []*caller) *weights {
	w := &weights{measured: make([]int64, len(callers))}
	place := make(map[*caller]int, len(callers))
	for i, c := range callers {
		place[c] = i
	}
	for _, it := range t.items {
		n := int64(len(it.input.Tokens))
		if !t.key.tokens {
			n = int64(len(t.limits.Prefix) + len(it.input.Text) + marks)
		}
		w.measured[place[it.caller]] += n
	}
	counter, can := t.key.engine.(Counter)
	if len(callers) == 1 || t.key.tokens || !can || !b.cfg.CountTokens {
		return w
	}
	w.counted, w.done = make([]int64, len(callers)), make(chan struct{})
	ctx, w.cancel = context.WithCancel(ctx)
	go w.count(ctx, counter, t.limits.Prefix, t.items, place)
	return w
}

// count counts every input, and gives up at the first that cannot be counted.
func (w *weights) count(ctx context.Context, by Counter, prefix string, items []item, place map[*caller]int) {
	defer close(w.done)
	counts := make([]int, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(countsAtOnce)
	for i, it := range items {
		g.Go(func() (err error) {
			counts[i], err = countInput(ctx, by, prefix+it.input.Text)
			return err
		})
	}
	if g.Wait() != nil {
		return
	}
	for i, it := range items {
		w.counted[place[it.caller]] += int64(counts[i])
	}
	w.whole = true
}

func countInput(ctx context.Context, by Counter, text string) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	body, err := json.Marshal(struct {
		Prompt string `json:"prompt"`
	}{text})
	if err != nil {
		return 0, err
	}
	return by.CountTokens(ctx, engine.Completion, body)
}

// wait returns the counts once they are there, or what was measured when they
// are not soon.
func (w *weights) wait(c clock.Clock) []int64 {
	if w.done == nil {
		return w.measured
	}
	defer w.cancel()
	timer := c.NewTimer(countGrace)
	defer timer.Stop()
	select {
	case <-w.done:
		if w.whole {
			return w.counted
		}
	case <-timer.C():
	}
	return w.measured
}
