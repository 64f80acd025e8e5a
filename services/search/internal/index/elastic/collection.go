package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/services/search/internal/index"
)

// collection is one collection's index.
type collection struct {
	x      *Index
	name   string
	metric index.Metric

	// writing is held by the one who changes the collection; mu only while what
	// searches see is exchanged.
	writing sync.Mutex
	// loaded: what the cluster has is known. failed: what it has is not what is
	// known, and changes do not lead on. Both under writing.
	loaded, failed bool
	// before are the views that were replaced and may still be searched: what
	// they show is not taken away until then. Under writing.
	before []*view

	mu     sync.Mutex
	now    *view // nil: to be replaced
	closed bool
}

// view is what searches see: an index of Elasticsearch at one generation. Only
// readers and retired change, under the collection's mu.
type view struct {
	index string
	meta  meta
	// seqNo and term are of the document that holds meta: whoever else has
	// changed it is noticed.
	seqNo, term int

	readers int
	retired bool
	idle    chan struct{} // closed when it is retired and has no readers
}

// meta is kept in the index itself, in a document that no search finds.
type meta struct {
	// Format is what passages hold; see the constant.
	Format  int   `json:"format"`
	Through int64 `json:"through"`
	// Hidden are the versions that are gone and may still be there.
	Hidden []int64 `json:"hidden"`
	// Width is the vectors' dimensions; 0 before the first.
	Width int `json:"width"`
	// Passages is about how many there are, and Many whether vectors are found by
	// a graph.
	Passages int  `json:"passages"`
	Many     bool `json:"many"`
	// Points are the paths whose places can be found.
	Points []string `json:"points,omitempty"`
}

// metaID is the id of the document that holds meta.
const metaID = "meta"

// Sequence implements index.Collection. It survives a restart.
func (c *collection) Sequence() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		return 0
	}
	return c.now.meta.Through
}

// acquire returns the present view, to be released.
func (c *collection) acquire() (*view, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, errClosed
	case c.now == nil:
		return nil, errNotReplaced
	}
	c.now.readers++
	return c.now, nil
}

func (c *collection) release(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.readers--
	v.ifIdle()
}

func (v *view) ifIdle() {
	if v.retired && v.readers == 0 {
		close(v.idle)
	}
}

// exchange shows v to searches; nil for nothing. writing is held.
func (c *collection) exchange(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.now; old != nil {
		old.retired = true
		old.ifIdle()
		c.before = append(c.before, old)
	}
	c.before = slices.DeleteFunc(c.before, func(v *view) bool { return v.readers == 0 })
	c.now = v
}

// broken notes that a change may have been made in part. Searches go on with the
// view that they have.
func (c *collection) broken(err error) error {
	c.loaded = false
	c.failed = c.failed || isStatus(err, http.StatusConflict) // somebody else writes
	return err
}

// lost notes that the index of a view is not there any more.
func (c *collection) lost(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == v {
		v.retired, c.now = true, nil
		v.ifIdle()
	}
}

// quiet waits until nobody searches a view before the present one. Searches end
// by their timeout.
func (c *collection) quiet(ctx context.Context) error {
	for _, v := range c.before {
		select {
		case <-v.idle:
		case <-ctx.Done():
			return fmt.Errorf("elasticsearch index: wait for searches: %w", context.Cause(ctx))
		}
	}
	c.before = nil
	return nil
}

// usable returns the present view to the one who writes, and why it cannot be
// changed.
func (c *collection) usable(ctx context.Context) (*view, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	return c.now, ctx.Err()
}

func (c *collection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// load finds what an earlier process has left: the index that is whole, less
// what was not finished.
func (c *collection) load(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.loaded {
		return nil
	}
	found, err := c.x.kept(ctx)
	if err != nil {
		return err
	}
	var v *view
	for _, k := range found {
		switch {
		case k.name != c.name:
		case k.whole && v == nil:
			if v, err = c.read(ctx, k.index); err != nil {
				return err
			}
		default:
			if err := c.x.remove(ctx, k.index); err != nil {
				return err
			}
		}
	}
	if v != nil {
		if err := c.sweep(ctx, v); err != nil {
			return err
		}
	}
	c.exchange(v)
	c.loaded = true
	return nil
}

// reload finds out what a change that failed has done, and takes back what it
// had not ended.
func (c *collection) reload(ctx context.Context, now *view) error {
	if c.loaded || now == nil {
		return nil
	}
	v, err := c.read(ctx, now.index)
	if err != nil {
		return err
	}
	if v == nil {
		c.lost(now)
		return index.ErrReplace
	}
	if err := c.sweep(ctx, v); err != nil {
		return err
	}
	c.exchange(v)
	c.loaded = true
	return nil
}

// read returns the view that an index's meta describes; nil when it has none, or
// passages of another format: it must be replaced then.
func (c *collection) read(ctx context.Context, idx string) (*view, error) {
	var answer struct {
		SeqNo  int `json:"_seq_no"`
		Term   int `json:"_primary_term"`
		Source struct {
			Meta meta `json:"meta"`
		} `json:"_source"`
	}
	err := c.x.client.do(ctx, "read the state", esapi.GetRequest{Index: idx, DocumentID: metaID}, &answer)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil //nolint:nilnil // no state and no error: to be replaced
	}
	if err != nil {
		return nil, err
	}
	if answer.Source.Meta.Format != format {
		return nil, nil //nolint:nilnil // as above
	}
	return &view{
		index: idx, meta: answer.Source.Meta, seqNo: answer.SeqNo, term: answer.Term, idle: make(chan struct{}),
	}, nil
}

// sweep removes what a change that did not end has put.
func (c *collection) sweep(ctx context.Context, v *view) error {
	if err := c.refresh(ctx, v.index); err != nil {
		return err
	}
	b := newBulk(c.x.client, v.index)
	defer b.abandon()
	later := object{"range": object{fieldFrom: object{"gt": v.meta.Through}}}
	if _, err := c.removeFound(ctx, b, v.index, later); err != nil {
		return err
	}
	return b.end(ctx)
}

func (c *collection) refresh(ctx context.Context, idx string) error {
	return c.x.client.do(ctx, "refresh", esapi.IndicesRefreshRequest{Index: []string{idx}}, nil)
}

// removeFound adds to b the removal of every passage that query finds, and
// returns how many there are.
func (c *collection) removeFound(ctx context.Context, b *bulk, idx string, query object) (int, error) {
	const size = 5000
	var after []json.RawMessage
	for n := 0; ; {
		body := object{
			"query": query, "size": size, "_source": false, "track_total_hits": false,
			"sort": []string{fieldNo, fieldChunk},
		}
		if after != nil {
			body["search_after"] = after
		}
		text, err := putJSON(body)
		if err != nil {
			return n, err
		}
		var answer found
		whole := false
		req := esapi.SearchRequest{Index: []string{idx}, Body: text, AllowPartialSearchResults: &whole}
		if err := c.x.client.do(ctx, "find what is gone", req, &answer); err != nil {
			return n, err
		}
		for _, h := range answer.Hits.Hits {
			if err := b.remove(ctx, h.ID); err != nil {
				return n, err
			}
			n, after = n+1, h.Sort
		}
		if len(answer.Hits.Hits) < size {
			return n, nil
		}
	}
}
