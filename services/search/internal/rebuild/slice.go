package rebuild

import (
	"context"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/store"
)

// subject is whom background work is done on behalf of, in the collection's
// tenant.
const subject = "embedding-generations"

// slice embeds the next documents and reports whether there are no others. While
// paced it is no faster than the rate allows.
func (b *Builder) slice(ctx context.Context, l store.Live, lease store.Lease, paced bool) (done bool, err error) {
	began := b.o.Clock.Now()
	c := l.Collection
	next, err := b.o.Store.Unembedded(ctx, c, b.o.GroupDocuments, b.o.GroupBytes)
	if err != nil {
		return false, err
	}
	if len(next.Documents) == 0 && next.Through <= l.Through {
		return true, nil
	}
	// The version may have been pinned since l was read.
	now, err := b.o.Store.EmbeddingGeneration(ctx, c, l.Number)
	if err != nil {
		return false, err
	}
	g := group{b: b, c: c, model: embedding.Pinned(now.EmbeddingModel, now.EmbeddingDigest)}
	g.paced = paced && !next.Last // else those who write could be the faster ones for ever
	g.out = store.Embedded{Through: next.Through, Failed: make(map[int64]string), Rate: now.Rate}
	ctx = identity.NewContext(ctx, identity.Caller{Tenant: c.Tenant, Subject: subject})
	if err := g.embed(ctx, g.cut(ctx, next.Documents)); err != nil {
		reason := apierr.From(err).Message
		if noted := b.o.Store.Waiting(ctx, lease, reason); noted != nil {
			return false, noted
		}
		return false, err
	}
	if l.State != store.Building && len(g.out.Failed) > 0 {
		return false, b.stopBefore(ctx, lease, g.out, next.Documents)
	}
	if took := b.o.Clock.Now().Sub(began); took > 0 && len(next.Documents) > 0 {
		g.out.Rate = float64(len(next.Documents)) / took.Seconds()
	}
	if err := b.o.Store.Embed(ctx, lease, g.out); err != nil {
		return false, err
	}
	return next.Last, nil
}

// stopBefore writes what comes before the first document that could not be
// embedded, and stays there: what has an index must not miss any.
func (b *Builder) stopBefore(ctx context.Context, lease store.Lease, e store.Embedded, docs []store.Pending) error {
	for _, d := range docs {
		reason, failed := e.Failed[d.No]
		if !failed {
			continue
		}
		e.Through, e.Failed = d.No-1, nil
		for i, v := range e.Versions {
			if v.No > e.Through {
				e.Versions = e.Versions[:i]
				break
			}
		}
		if err := b.o.Store.Embed(ctx, lease, e); err != nil {
			return err
		}
		err := apierr.New(apierr.FailedPrecondition, "the document %q cannot be embedded: %s", d.ID, reason)
		if noted := b.o.Store.Waiting(ctx, lease, err.Message); noted != nil {
			return noted
		}
		return err
	}
	return nil
}

// pace waits until the next passages are due after so many: by the rate, and so
// that calls take no more than their share of the time.
func (b *Builder) pace(ctx context.Context, began time.Time, chunks int) error {
	now := b.o.Clock.Now()
	var due time.Duration
	if b.o.Share > 0 {
		due = time.Duration(float64(now.Sub(began)) / b.o.Share)
	}
	if b.o.ChunksPerSecond > 0 {
		due = max(due, time.Duration(float64(chunks)/b.o.ChunksPerSecond*float64(time.Second)))
	}
	return clock.Sleep(ctx, b.o.Clock, began.Add(due).Sub(now))
}

// group is documents that are embedded together.
type group struct {
	b     *Builder
	c     store.Collection
	model string
	paced bool
	out   store.Embedded
}

// cut cuts the documents that need it.
func (g *group) cut(ctx context.Context, docs []store.Pending) []store.Version {
	out := make([]store.Version, 0, len(docs))
	for _, d := range docs {
		if d.Kept {
			continue
		}
		v := store.Version{Document: d.Document}
		err := g.b.o.Cutter.Cut(g.c, &v)
		if err == nil {
			err = g.b.o.Cutter.Fit(ctx, g.c, g.model, []*store.Version{&v})
		}
		if err != nil {
			g.out.Failed[d.No] = err.Message
			continue
		}
		out = append(out, v)
	}
	return out
}

// embed gives the versions' passages their vectors. When the model refuses the
// texts, each version is tried alone, and the one at fault is noted as failed.
func (g *group) embed(ctx context.Context, versions []store.Version) error {
	if len(versions) == 0 {
		return nil
	}
	var texts []string
	for _, v := range versions {
		for _, ch := range v.Chunks {
			texts = append(texts, follow.Indexed(v.Title, ch.Text))
		}
	}
	values, err := g.vectors(ctx, texts)
	if err != nil {
		e := embedding.Failure(err)
		switch {
		case e.Reason != apierr.InvalidArgument:
			return e
		case len(versions) == 1:
			g.out.Failed[versions[0].No] = e.Message
			return nil
		}
		for i := range versions {
			if err := g.embed(ctx, versions[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, v := range versions {
		for i := range v.Chunks {
			v.Chunks[i].Vector, values = values[0], values[1:]
		}
		g.out.Versions = append(g.out.Versions, v)
	}
	return nil
}

// vectors embeds the texts, some at a time and with pauses that keep the rate:
// searches find the machine free in between.
func (g *group) vectors(ctx context.Context, texts []string) ([][]float32, error) {
	var out [][]float32
	for some := range slices.Chunk(texts, max(1, g.b.o.CallChunks)) {
		began := g.b.o.Clock.Now()
		v, err := g.b.o.Embedder.Embed(ctx, g.model, embedding.Passage, some)
		if err != nil {
			return nil, err
		}
		width := len(v.Values[0])
		if g.out.Dimensions != 0 && (width != g.out.Dimensions || v.Digest != g.out.Digest) {
			return nil, apierr.New(apierr.Unavailable, "the embedding model changed its version meanwhile")
		}
		g.out.Digest, g.out.Dimensions = v.Digest, width
		out = append(out, v.Values...)
		if g.paced {
			if err := g.b.pace(ctx, began, len(some)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
