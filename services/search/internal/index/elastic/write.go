package elastic

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

// maxHidden is how many versions a change may remove: a query may name no more
// than 65,536.
const maxHidden = 60_000

// Apply implements index.Collection. What is new is put beside what is there,
// where no search sees it; then the new generation is noted, from which on
// searches see it and not what is gone. What is gone is removed by the next
// change, when nobody can be searching for it.
func (c *collection) Apply(ctx context.Context, ch index.Changes) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	now, err := c.usable(ctx)
	if err != nil {
		return err
	}
	if err := c.reload(ctx, now); err != nil {
		return err
	}
	if now, err = c.usable(ctx); err != nil {
		return err
	}
	if now == nil || c.failed {
		return index.ErrReplace
	}
	if ch.Through <= now.meta.Through { // it was made, and its answer was lost
		return nil
	}
	if err := c.apply(ctx, now, ch); err != nil {
		return c.broken(err)
	}
	return nil
}

func (c *collection) apply(ctx context.Context, now *view, ch index.Changes) error {
	if len(ch.Remove) > maxHidden {
		return fmt.Errorf("elasticsearch index: a change removes %d versions, more than %d", len(ch.Remove), maxHidden)
	}
	next := &view{index: now.index, meta: now.meta, seqNo: now.seqNo, term: now.term, idle: make(chan struct{})}
	w := c.writer(next, ch.Through)
	defer w.bulk.abandon()
	if len(now.meta.Hidden) > 0 {
		if err := c.quiet(ctx); err != nil {
			return err
		}
		gone := object{"terms": object{fieldNo: now.meta.Hidden}}
		n, err := c.removeFound(ctx, w.bulk, now.index, gone)
		if err != nil {
			return err
		}
		next.meta.Passages = max(0, next.meta.Passages-n)
	}
	for _, d := range ch.Put {
		if err := w.put(ctx, d); err != nil {
			return err
		}
	}
	if err := w.end(ctx); err != nil {
		return err
	}
	next.meta.Through, next.meta.Hidden = ch.Through, slices.Clone(ch.Remove)
	if err := c.note(ctx, next, false); err != nil {
		return err
	}
	c.exchange(next)
	return nil
}

// Replace implements index.Collection: it makes another index and moves the
// alias to it.
func (c *collection) Replace(ctx context.Context, through int64, docs iter.Seq2[index.Document, error]) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.usable(ctx); err != nil {
		return err
	}
	idx := c.x.newIndexName(c.name)
	next, err := c.make(ctx, idx, through, docs)
	if err != nil {
		// Whether or not that goes well: what is not whole is removed by the next
		// process, too.
		_ = c.x.remove(context.WithoutCancel(ctx), idx)
		return err
	}
	c.exchange(next)
	c.loaded, c.failed = true, false
	if c.quiet(ctx) == nil {
		c.removeOthers(ctx, idx)
	}
	return nil
}

// removeOthers removes the collection's indexes but one. What it cannot remove
// is removed by the next replacement or process.
func (c *collection) removeOthers(ctx context.Context, but string) {
	found, err := c.x.kept(ctx)
	for _, k := range found {
		if err == nil && k.name == c.name && k.index != but {
			err = c.x.remove(ctx, k.index)
		}
	}
}

func (c *collection) make(ctx context.Context, idx string, through int64, docs iter.Seq2[index.Document, error]) (*view, error) {
	body, err := putJSON(settings())
	if err != nil {
		return nil, err
	}
	if err := c.x.client.do(ctx, "create an index", esapi.IndicesCreateRequest{Index: idx, Body: body}, nil); err != nil {
		return nil, err
	}
	next := &view{index: idx, meta: meta{Format: format, Through: through}, idle: make(chan struct{})}
	w := c.writer(next, through)
	defer w.bulk.abandon()
	for d, err := range docs {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = w.put(ctx, d)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.end(ctx); err != nil {
		return nil, err
	}
	if err := c.note(ctx, next, true); err != nil {
		return nil, err
	}
	return next, c.moveAlias(ctx, idx)
}

// moveAlias says which index is whole, in one step.
func (c *collection) moveAlias(ctx context.Context, idx string) error {
	alias := c.x.alias(c.name)
	actions := []object{
		{"remove": object{"index": alias + separator + "*", "alias": alias, "must_exist": false}},
		{"add": object{"index": idx, "alias": alias}},
	}
	if shown := c.x.showing(c.name); shown != "" {
		actions = append(actions,
			object{"remove": object{"index": alias + separator + "*", "alias": shown, "must_exist": false}},
			object{"add": object{"index": idx, "alias": shown}})
	}
	body, err := putJSON(object{"actions": actions})
	if err != nil {
		return err
	}
	return c.x.client.do(ctx, "move the alias", esapi.IndicesUpdateAliasesRequest{Body: body}, nil)
}

// note writes v's meta, unless another process did so meanwhile, and takes down
// where it was written.
func (c *collection) note(ctx context.Context, v *view, first bool) error {
	body, err := putJSON(object{fieldMeta: v.meta})
	if err != nil {
		return err
	}
	req := esapi.IndexRequest{Index: v.index, DocumentID: metaID, Body: body}
	if !first {
		req.IfSeqNo, req.IfPrimaryTerm = &v.seqNo, &v.term
	}
	var answer struct {
		SeqNo int `json:"_seq_no"`
		Term  int `json:"_primary_term"`
	}
	if err := c.x.client.do(ctx, "note the generation", req, &answer); err != nil {
		return err
	}
	v.seqNo, v.term = answer.SeqNo, answer.Term
	return nil
}

// writer puts versions that are seen from one generation on.
type writer struct {
	c       *collection
	bulk    *bulk
	words   *analysis.Analyzer
	version version
	from    int64
	meta    *meta
}

// writer returns one to v's index. Its bulk must be ended.
func (c *collection) writer(v *view, from int64) *writer {
	return &writer{c: c, bulk: newBulk(c.x.client, v.index), words: analysis.NewAnalyzer(), from: from, meta: &v.meta}
}

func (w *writer) put(ctx context.Context, d index.Document) error {
	points, err := w.points(ctx, d.Fields)
	if err != nil {
		return err
	}
	w.version.open(d, w.from, points)
	for i, ch := range d.Chunks {
		if ch.Number != i {
			return fmt.Errorf("elasticsearch index: chunk %d of version %d is numbered %d", i, d.No, ch.Number)
		}
		if err := w.checkWidth(ctx, d.No, len(ch.Vector)); err != nil {
			return err
		}
		vector := ch.Vector
		if w.c.unplaceable(vector) {
			vector = nil
		}
		err := w.bulk.create(ctx, passageID(d.No, i), func(s smile) smile {
			return w.version.write(s, i, w.words.Analyze(ch.Text), vector)
		})
		if err != nil {
			return err
		}
		w.meta.Passages++
	}
	return nil
}

// checkWidth refuses vectors of two widths; the first one's is the
// collection's.
func (w *writer) checkWidth(ctx context.Context, no int64, width int) error {
	switch {
	case width == 0 || w.meta.Width != 0 && width != w.meta.Width:
		return fmt.Errorf("elasticsearch index: a vector of version %d has %d dimensions, the collection %d", no, width, w.meta.Width)
	case w.meta.Width != 0:
		return nil
	}
	w.meta.Width = width
	return w.mapVectors(ctx)
}

func (w *writer) mapVectors(ctx context.Context) error {
	body, err := putJSON(vectors(w.meta.Width, w.meta.Many, w.c.metric))
	if err != nil {
		return err
	}
	req := esapi.IndicesPutMappingRequest{Index: []string{w.bulk.index}, Body: body}
	return w.c.x.client.do(ctx, "set the vectors' width", req, nil)
}

// end sends the rest and makes all of it searchable. When there are many
// passages by now, what is written from now on gets a graph, and the rest as
// Elasticsearch merges it.
func (w *writer) end(ctx context.Context) error {
	if !w.meta.Many && w.meta.Passages > w.c.x.many {
		w.meta.Many = true
		if err := w.mapVectors(ctx); err != nil {
			return err
		}
	}
	if err := w.bulk.end(ctx); err != nil {
		return err
	}
	return w.c.refresh(ctx, w.bulk.index)
}

// unplaceable reports whether a vector cannot be compared: one without a
// direction has no cosine.
func (c *collection) unplaceable(v []float32) bool { return c.metric == index.Cosine && zero(v) }

// zero reports whether a vector has no direction, which Elasticsearch refuses.
func zero(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}
