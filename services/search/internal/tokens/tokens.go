// Package tokens has texts counted by the tokeniser of the model that embeds them.
// It remembers how many tokens a model takes, and for a while that a model's
// tokens cannot be counted: then its callers estimate. Start reading at
// Counter.Count.
package tokens

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// Tokeniser counts one text; *embedding.Client is one.
type Tokeniser interface {
	CountTokens(ctx context.Context, model, text string) (n, limit int, err error)
}

// Options is what a counter needs.
type Options struct {
	Tokeniser Tokeniser
	Clock     clock.Clock
	// Counted is told of texts that were counted, and Estimated, once for as long as
	// it lasts, that a model's cannot be, and why.
	Counted   func(ctx context.Context, texts int)
	Estimated func(ctx context.Context, model string, err error)
}

// Counter counts. It is safe for concurrent use.
type Counter struct {
	o     Options
	slots chan struct{}

	mu     sync.Mutex
	models map[string]known
}

// known is what is known of a model for a while.
type known struct {
	limit int
	away  bool // its tokens cannot be counted
	until time.Time
}

const (
	// atOnce is how many texts are counted at a time: a tokeniser is quick, and an
	// engine is to have time left for embedding.
	atOnce = 8
	// A limit is asked for again after limitFor. A model without a tokeniser is
	// tried again after noneFor, and anything else that failed after awayFor.
	limitFor = 5 * time.Minute
	noneFor  = 10 * time.Minute
	awayFor  = 10 * time.Second
	// maxModels bounds what is remembered.
	maxModels = 1024
)

// New returns a counter.
func New(o Options) *Counter {
	return &Counter{o: o, slots: make(chan struct{}, atOnce), models: make(map[string]known)}
}

// Limit returns how many tokens the model takes, 0 for no known bound. ok: the
// model's tokens can be counted, as far as is known. A model that was not asked
// lately is given the sample to count.
func (c *Counter) Limit(ctx context.Context, model, sample string) (limit int, ok bool) {
	if k, ok := c.known(model); ok {
		return k.limit, !k.away
	}
	if _, ok := c.Count(ctx, model, []string{sample}); !ok {
		return 0, false
	}
	k, _ := c.known(model)
	return k.limit, true
}

// Count returns how many tokens each of the texts has. Not ok: they cannot be
// counted now.
func (c *Counter) Count(ctx context.Context, model string, texts []string) (counts []int, ok bool) {
	if k, ok := c.known(model); ok && k.away {
		return nil, false
	}
	counts = make([]int, len(texts))
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, text := range texts {
		g.Go(func() (err error) {
			counts[i], err = c.one(each, model, text)
			return err
		})
	}
	err := g.Wait()
	if err == nil {
		c.o.Counted(ctx, len(texts))
		return counts, true
	}
	if ctx.Err() != nil { // the caller left; nothing is known of the model
		return nil, false
	}
	wait := awayFor
	if apierr.ReasonOf(err) == apierr.Unimplemented {
		wait = noneFor
	}
	if c.learn(model, known{away: true, until: c.o.Clock.Now().Add(wait)}) {
		c.o.Estimated(ctx, model, err)
	}
	return nil, false
}

func (c *Counter) one(ctx context.Context, model, text string) (int, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n, limit, err := c.o.Tokeniser.CountTokens(ctx, model, text)
	if err != nil {
		return 0, err
	}
	c.learn(model, known{limit: limit, until: c.o.Clock.Now().Add(limitFor)})
	return n, nil
}

func (c *Counter) known(model string) (known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.models[model]
	return k, ok && c.o.Clock.Now().Before(k.until)
}

// learn notes what is known now, and reports whether countability has changed.
func (c *Counter) learn(model string, k known) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, ok := c.models[model]
	if !ok && len(c.models) >= maxModels {
		clear(c.models)
	}
	c.models[model] = k
	return before.away != k.away
}
