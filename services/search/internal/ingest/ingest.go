// Package ingest takes documents in: each is checked for itself, cut into
// passages, embedded, and written to the truth whole or not at all. A document
// whose passages cannot be embedded is not kept: what is kept can be found in
// every mode, and a caller who was told "failed" sends it again. Start reading
// at Ingester.Upsert.
package ingest

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/extract"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Embedder turns texts into vectors.
type Embedder interface {
	Embed(ctx context.Context, model string, kind embedding.Kind, texts []string) (embedding.Vectors, error)
}

// Indexes keeps indexes up with what is written.
type Indexes interface {
	CatchUpServing(ctx context.Context, c store.Collection, to int64) error
	Notify()
}

// Extractor takes the text out of a file.
type Extractor interface {
	Extract(ctx context.Context, content []byte, contentType string) (extract.Document, error)
}

// Options is what an ingester needs.
type Options struct {
	Store    *store.Store
	Embedder Embedder
	// Extractor reads documents that come as files.
	Extractor Extractor
	Clock     clock.Clock
	Indexes   Indexes
	Chunking  chunk.Options
	// Counter counts tokens for Fit.
	Counter Counter
	// MaxCollectionChunks bounds the chunks of one collection.
	MaxCollectionChunks int
	// GroupChunks is how many chunks are embedded and written together.
	GroupChunks int
}

// Ingester takes documents in. It is safe for concurrent use.
type Ingester struct{ o Options }

// New returns an ingester.
func New(o Options) *Ingester { return &Ingester{o: o} }

// Status is what became of a document.
type Status string

// The statuses, as the API shows them.
const (
	Created   Status = "created"
	Updated   Status = "updated"
	Unchanged Status = "unchanged"
	Failed    Status = "failed"
)

// Result is what became of one document.
type Result struct {
	ID     string
	Status Status
	Chunks int
	// Err says why it failed; its field is relative to the document.
	Err *apierr.Error
}

// item is one document on its way in.
type item struct {
	at      int // its place in the request
	version store.Version
	// cutFor is the embedding generation whose passages version has.
	cutFor int
	// kept is the number of the version whose chunks can be used again, or 0.
	kept int64
}

// Upsert writes documents into the collection and returns what became of each,
// in their order, and the generation afterwards. Documents that exist and that
// by does not cover fail, untouched. With wait, what was written
// can be found when it returns. The error is of the whole request; documents
// written before it stay written, and are found unchanged when sent again. With
// results beside it, it only says why they cannot be found yet.
func (g *Ingester) Upsert(ctx context.Context, c store.Collection, by store.Rights, docs []Input, wait bool) ([]Result, int64, error) {
	results := make([]Result, len(docs))
	items, err := g.prepare(ctx, c, by, docs, results)
	if err != nil {
		return nil, 0, err
	}
	generation := c.Generation
	for pending := g.groups(items); len(pending) > 0; {
		group := pending[0]
		pending = pending[1:]
		written, last, err := g.write(ctx, &c, by, group)
		if err == nil {
			generation = last
			g.note(results, group, written)
			g.o.Indexes.Notify()
			continue
		}
		if ctx.Err() != nil {
			return nil, 0, err
		}
		e := apierr.From(outage.Of(err))
		switch {
		case e.Reason != apierr.InvalidArgument: // the others would only wait for the same failure
			for _, g := range append(pending, group) {
				fail(results, g, e)
			}
			pending = nil
		case len(group) > 1: // one of them is at fault: each for itself
			for _, it := range group {
				pending = append(pending, []*item{it})
			}
		default:
			fail(results, group, e)
		}
	}
	if wait {
		if err := g.o.Indexes.CatchUpServing(ctx, c, generation); outage.Is(err) {
			return results, generation, err
		} else if err != nil {
			return nil, 0, err
		}
	}
	return results, generation, nil
}

func (g *Ingester) note(results []Result, group []*item, written []store.Written) {
	for i, it := range group {
		results[it.at] = Result{ID: it.version.ID, Status: Updated, Chunks: len(it.version.Chunks)}
		switch {
		case written[i].Hidden:
			fail(results, []*item{it}, errHidden())
		case written[i].Full: // others wrote since prepare looked
			fail(results, []*item{it}, g.errFull())
		case written[i].Created:
			results[it.at].Status = Created
		}
	}
}

// errHidden is the same whatever the document there and the one that was sent
// hold. That the id is taken cannot be kept from somebody who may create it.
func errHidden() *apierr.Error {
	return apierr.New(apierr.PermissionDenied, "is not available to you").WithField("id")
}

func (g *Ingester) errFull() *apierr.Error {
	return apierr.New(apierr.FailedPrecondition, "the collection would have more than %d chunks", g.o.MaxCollectionChunks)
}

func fail(results []Result, group []*item, e *apierr.Error) {
	for _, it := range group {
		results[it.at] = Result{ID: it.version.ID, Status: Failed, Err: e}
	}
}

// prepare checks the documents and returns those that must be written. What is
// known of the others is put into results.
func (g *Ingester) prepare(ctx context.Context, c store.Collection, by store.Rights, docs []Input, results []Result) ([]*item, error) {
	var items []*item
	var ids []string
	first := make(map[string]int, len(docs))
	for i, in := range docs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var v store.Version
		in, err := g.opened(ctx, in)
		if err == nil {
			v, err = Check(c.Tenant, in)
		}
		if err == nil {
			v.ExpireTime, err = g.expiry(in)
		}
		if err == nil {
			if at, ok := first[in.ID]; ok {
				err = apierr.Invalid("id", "is also the id of documents[%d]", at)
			} else {
				first[in.ID] = i
			}
		}
		if err != nil {
			results[i] = Result{ID: in.ID, Status: Failed, Err: err}
			continue
		}
		items, ids = append(items, &item{at: i, version: v}), append(ids, in.ID)
	}
	existing, err := g.o.Store.Existing(ctx, c, by, ids)
	if err != nil {
		return nil, err
	}
	room := g.o.MaxCollectionChunks - c.ChunkCount
	out := items[:0]
	for _, it := range items {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		old, known := existing[it.version.ID]
		switch {
		case old.Hidden:
			results[it.at] = Result{ID: it.version.ID, Status: Failed, Err: errHidden()}
			continue
		case known && old.ContentHash == it.version.ContentHash && old.ExpireTime.Equal(it.version.ExpireTime):
			results[it.at] = Result{ID: old.ID, Status: Unchanged, Chunks: old.ChunkCount}
			continue
		case known && old.TextHash == it.version.TextHash:
			it.kept = old.No
		}
		if err := g.cut(c, it); err != nil {
			results[it.at] = Result{ID: it.version.ID, Status: Failed, Err: err}
			continue
		}
		if room += old.ChunkCount - len(it.version.Chunks); room < 0 {
			room -= old.ChunkCount - len(it.version.Chunks)
			results[it.at] = Result{ID: it.version.ID, Status: Failed, Err: g.errFull()}
			continue
		}
		out = append(out, it)
	}
	return out, nil
}

// cut cuts the item's document as c's embedding generation has it.
func (g *Ingester) cut(c store.Collection, it *item) *apierr.Error {
	it.cutFor = c.EmbeddingGeneration
	return g.Cut(c, &it.version)
}

// Cut cuts the document's text into chunks, as c's embedding generation has it. A
// document that has only a title is one empty chunk, found by its title.
func (g *Ingester) Cut(c store.Collection, v *store.Version) *apierr.Error {
	spans := chunk.Split(v.Text, g.chunking(c, v.Title))
	if len(spans) == 0 {
		spans = []chunk.Span{{}}
	}
	return passages(v, spans)
}

// groups deals the items out so that a group has about GroupChunks chunks, and
// at least one item.
func (g *Ingester) groups(items []*item) [][]*item {
	var out [][]*item
	start, size := 0, 0
	for i, it := range items {
		if i > start && size+len(it.version.Chunks) > g.o.GroupChunks {
			out = append(out, items[start:i])
			start, size = i, 0
		}
		size += len(it.version.Chunks)
	}
	if start < len(items) {
		out = append(out, items[start:])
	}
	return out
}

// recut cuts documents again that were cut for another embedding generation.
func (g *Ingester) recut(c store.Collection, group []*item) error {
	for _, it := range group {
		if it.cutFor == c.EmbeddingGeneration {
			continue
		}
		if err := g.cut(c, it); err != nil {
			return err
		}
	}
	return nil
}

// embedAttempts is how often a group is embedded: again when another request
// gave the collection its model version first, or another embedding generation
// serves by now.
const embedAttempts = 3

// write embeds and writes one group.
func (g *Ingester) write(ctx context.Context, c *store.Collection, by store.Rights, group []*item) ([]store.Written, int64, error) {
	for attempt := 1; ; attempt++ {
		if err := g.recut(*c, group); err != nil {
			return nil, 0, err
		}
		w, err := g.embed(ctx, *c, group)
		if err != nil {
			return nil, 0, err
		}
		w.By, w.MaxChunks = by, g.o.MaxCollectionChunks
		for _, it := range group {
			w.Documents = append(w.Documents, it.version)
		}
		written, generation, err := g.o.Store.Upsert(ctx, *c, w)
		if !errors.Is(err, store.ErrModelChanged) {
			return written, generation, err
		}
		if attempt == embedAttempts {
			return nil, 0, apierr.Wrap(apierr.FailedPrecondition, err,
				"the embedding model now gives other vectors than those the collection has; make the collection anew")
		}
		// Another request was first; from now on its version is asked for.
		fresh, err := g.o.Store.Collection(ctx, c.Tenant, c.ID)
		if err != nil {
			return nil, 0, err
		}
		if fresh.UID != c.UID {
			return nil, 0, apierr.New(apierr.NotFound, "the collection was deleted meanwhile").WithField("collection")
		}
		*c = fresh
	}
}

// embed gives every chunk of the group its vector.
func (g *Ingester) embed(ctx context.Context, c store.Collection, group []*item) (store.Write, error) {
	var fresh []*store.Version
	for _, it := range group {
		reused, err := g.reuse(ctx, c, it)
		if err != nil {
			return store.Write{}, err
		}
		if !reused {
			fresh = append(fresh, &it.version)
		}
	}
	if len(fresh) == 0 {
		return store.Write{}, nil
	}
	if err := g.Fit(ctx, c, embedding.Pinned(c.EmbeddingModel, c.EmbeddingDigest), fresh); err != nil {
		return store.Write{}, err
	}
	var texts []string
	var into []*store.Chunk
	for _, v := range fresh {
		for i := range v.Chunks {
			ch := &v.Chunks[i]
			texts, into = append(texts, follow.Indexed(v.Title, ch.Text)), append(into, ch)
		}
	}
	v, err := g.o.Embedder.Embed(ctx, embedding.Pinned(c.EmbeddingModel, c.EmbeddingDigest), embedding.Passage, texts)
	if err != nil {
		return store.Write{}, embedding.Failure(err)
	}
	for i, ch := range into {
		ch.Vector = v.Values[i]
	}
	return store.Write{Digest: v.Digest, Dimensions: len(v.Values[0])}, nil
}
