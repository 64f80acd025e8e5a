package elastic

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/clock"
)

const (
	// bulkBytes is how much is sent at once, if one item is not longer than that:
	// some five hundred passages.
	bulkBytes = 2 << 20
	// bulksInFlight is how many are on the way at a time. The next is written
	// meanwhile.
	bulksInFlight = 2
)

// item is one action of a bulk and where it lies in the body.
type item struct {
	id         string
	start, end int
}

// body is what is sent at once.
type body struct {
	text  smile
	items []item
}

// bodies are those that are not in use.
type bodies struct{ pool sync.Pool }

func (p *bodies) take() *body {
	if b, ok := p.pool.Get().(*body); ok {
		b.text, b.items = b.text[:0], b.items[:0]
		return b
	}
	return &body{}
}

func (p *bodies) giveBack(b *body) {
	clear(b.items)
	p.pool.Put(b)
}

// bulk collects actions, none of which needs another one done, and sends them in
// pieces, two at a time. Each item that the node has no room for is sent again by
// itself; the client library does not do that. It is used by one goroutine, and
// must be ended.
type bulk struct {
	client  *client
	index   string
	open    *body // being written; nil: none
	sending errgroup.Group
	failed  atomic.Bool
}

func newBulk(cl *client, idx string) *bulk {
	b := &bulk{client: cl, index: idx}
	b.sending.SetLimit(bulksInFlight)
	return b
}

// create adds a passage, which write writes.
func (b *bulk) create(ctx context.Context, id string, write func(smile) smile) error {
	return b.add(ctx, "create", id, write)
}

func (b *bulk) remove(ctx context.Context, id string) error { return b.add(ctx, "delete", id, nil) }

// add adds an item; write is nil where the action has no document.
func (b *bulk) add(ctx context.Context, action, id string, write func(smile) smile) error {
	if b.failed.Load() {
		return b.end(ctx)
	}
	if b.open == nil {
		b.open = b.client.bodies.take()
	}
	to := b.open
	start := len(to.text)
	to.text = to.text.begin().object().name(action).object().name("_id").text(id).objectEnd().objectEnd()
	to.text = append(to.text, smileSeparator)
	if write != nil {
		to.text = append(write(to.text.begin()), smileSeparator)
	}
	to.items = append(to.items, item{id: id, start: start, end: len(to.text)})
	if len(to.text) >= bulkBytes {
		b.send(ctx)
	}
	return nil
}

// send has the open body sent, once there is room among those on the way.
func (b *bulk) send(ctx context.Context) {
	sent := b.open
	b.open = nil
	b.sending.Go(func() error {
		defer b.client.bodies.giveBack(sent)
		err := b.deliver(ctx, sent)
		if err != nil {
			b.failed.Store(true)
		}
		return err
	})
}

// end sends what is left and waits for everything. It fails unless every item is
// done; nothing is on the way any more then, either.
func (b *bulk) end(ctx context.Context) error {
	if b.open != nil && !b.failed.Load() {
		b.send(ctx)
	}
	return b.sending.Wait()
}

// abandon waits for what is on the way and drops the rest. After end it does
// nothing.
func (b *bulk) abandon() { _ = b.sending.Wait() }

// deliver sends a body, and what of it was refused again.
func (b *bulk) deliver(ctx context.Context, what *body) error {
	items := what.items
	text := []byte(what.text)
	for attempt := 1; ; attempt++ {
		left, err := b.call(ctx, text, items)
		if err != nil || len(left) == 0 {
			return err
		}
		if attempt == attempts {
			return fmt.Errorf("elasticsearch index: bulk: %d passages were refused %d times: %w",
				len(left), attempts, &statusError{status: http.StatusTooManyRequests})
		}
		text = nil
		for _, it := range left {
			text = append(text, what.text[it.start:it.end]...)
		}
		items = left
		if err := clock.Sleep(ctx, b.client.clock, backoff(b.client.pause, attempt)); err != nil {
			return fmt.Errorf("elasticsearch index: bulk: %w", err)
		}
	}
}

// bulkAnswer is what became of each item, in order.
type bulkAnswer struct {
	Items []map[string]struct {
		Status int     `json:"status"`
		Error  failure `json:"error"`
	} `json:"items"`
}

// call returns the items that are to be sent again.
func (b *bulk) call(ctx context.Context, text []byte, items []item) ([]item, error) {
	var answer bulkAnswer
	req := esapi.BulkRequest{
		Index: b.index, Body: bytes.NewReader(text),
		Header:     http.Header{"Content-Type": {"application/smile"}, "Accept": {"application/json"}},
		FilterPath: []string{"items.*.status", "items.*.error.type", "items.*.error.root_cause.type"},
	}
	if err := b.client.do(ctx, "bulk", req, &answer); err != nil {
		return nil, err
	}
	if len(answer.Items) != len(items) {
		return nil, fmt.Errorf("elasticsearch index: bulk: %d items were sent, %d answered", len(items), len(answer.Items))
	}
	var left []item
	for i, results := range answer.Items {
		for action, r := range results {
			switch {
			case r.Status < http.StatusMultipleChoices,
				// A number stands for the same content forever, and an attempt may
				// have done more than was heard of.
				action == "create" && r.Status == http.StatusConflict,
				action == "delete" && r.Status == http.StatusNotFound:
			case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
				left = append(left, items[i])
			default:
				return nil, fmt.Errorf("elasticsearch index: bulk: passage %s: %w", items[i].id,
					&statusError{status: r.Status, kind: r.Error.kind()})
			}
		}
	}
	return left, nil
}
