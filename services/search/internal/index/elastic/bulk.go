package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/pkg/clock"
)

// bulkBytes is how much is sent at once, if one item is not longer than that.
const bulkBytes = 4 << 20

// item is one line or two of a bulk.
type item struct {
	id   string
	made []byte
}

// bulk collects items and sends them in pieces. Each item that the node has no
// room for is sent again by itself; the client library does not do that.
type bulk struct {
	client *client
	index  string
	items  []item
	bytes  int
}

func (b *bulk) create(ctx context.Context, id string, doc any) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("elasticsearch index: write a passage: %w", err)
	}
	return b.add(ctx, "create", id, text)
}

func (b *bulk) remove(ctx context.Context, id string) error { return b.add(ctx, "delete", id, nil) }

// add adds an item; doc is nil where the action has none.
func (b *bulk) add(ctx context.Context, action, id string, doc []byte) error {
	line, err := json.Marshal(map[string]map[string]string{action: {"_id": id}})
	if err != nil {
		return fmt.Errorf("elasticsearch index: write a passage: %w", err)
	}
	made := slices.Concat(line, []byte("\n"))
	if doc != nil {
		made = slices.Concat(made, doc, []byte("\n"))
	}
	if b.bytes > 0 && b.bytes+len(made) > bulkBytes {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.items = append(b.items, item{id: id, made: made})
	b.bytes += len(made)
	return nil
}

// flush sends what was collected. It fails unless every item is done.
func (b *bulk) flush(ctx context.Context) error {
	items := b.items
	b.items, b.bytes = nil, 0
	for attempt := 1; len(items) > 0; attempt++ {
		left, err := b.send(ctx, items)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if attempt == attempts {
			return fmt.Errorf("elasticsearch index: bulk: %d passages were refused %d times: %w",
				len(left), attempts, &statusError{status: http.StatusTooManyRequests})
		}
		items = left
		if err := clock.Sleep(ctx, b.client.clock, backoff(b.client.pause, attempt)); err != nil {
			return fmt.Errorf("elasticsearch index: bulk: %w", err)
		}
	}
	return nil
}

// bulkAnswer is what became of each item, in order.
type bulkAnswer struct {
	Items []map[string]struct {
		Status int     `json:"status"`
		Error  failure `json:"error"`
	} `json:"items"`
}

// send returns the items that are to be sent again.
func (b *bulk) send(ctx context.Context, items []item) ([]item, error) {
	var body bytes.Buffer
	for _, it := range items {
		body.Write(it.made)
	}
	var answer bulkAnswer
	req := esapi.BulkRequest{Index: b.index, Body: bytes.NewReader(body.Bytes())}
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
