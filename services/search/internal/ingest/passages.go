package ingest

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/store"
)

// passages gives the document chunks at these places of its text.
func passages(v *store.Version, spans []chunk.Span) *apierr.Error {
	if len(spans) > MaxChunks {
		return apierr.Invalid("text", "is cut into %d chunks; at most %d are allowed", len(spans), MaxChunks)
	}
	outline := chunk.OutlineOf(v.Text)
	v.Chunks = make([]store.Chunk, len(spans))
	for i, s := range spans {
		text := v.Text[s.Start:s.End]
		v.Chunks[i] = store.Chunk{
			Number: i, Start: s.Start, End: s.End, Text: text,
			Terms: analysis.Count(follow.Worded(v.Title, text)), Headings: outline.Under(s),
		}
	}
	return nil
}

// reuse takes the passages of the version before with their vectors, when title
// and text are the same: a new access list needs no model. Those that its
// tokeniser had cut anew stay so, also while it is away.
func (g *Ingester) reuse(ctx context.Context, c store.Collection, it *item) (bool, error) {
	if it.kept == 0 {
		return false, nil
	}
	old, err := g.o.Store.Chunks(ctx, c, it.kept)
	if err != nil {
		return false, err
	}
	before, now := spansOf(old), spansOf(it.version.Chunks)
	if !chunk.Refines(before, now) { // replaced meanwhile, or cut otherwise
		return false, nil
	}
	for _, ch := range old {
		if ch.Text != it.version.Text[ch.Start:ch.End] {
			return false, nil
		}
	}
	if len(before) != len(now) {
		if err := passages(&it.version, before); err != nil {
			return false, err
		}
	}
	for i, ch := range old {
		it.version.Chunks[i].Vector = ch.Vector
	}
	return true, nil
}

func spansOf(chunks []store.Chunk) []chunk.Span {
	out := make([]chunk.Span, len(chunks))
	for i, ch := range chunks {
		out[i] = chunk.Span{Start: ch.Start, End: ch.End}
	}
	return out
}
