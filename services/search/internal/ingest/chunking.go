package ingest

import (
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/store"
)

// ByStructure is the way of cutting that looks for headings, lists and code.
const ByStructure = "structure"

// chunking returns how documents of the collection are cut, for one with the
// given title: a passage is embedded with it.
func (g *Ingester) chunking(c store.Collection, title string) chunk.Options {
	o, own := g.o.Chunking, c.Chunking
	if own.MaxWords > 0 {
		o.MaxWords = own.MaxWords
	}
	if own.MaxTokens > 0 {
		// A long title takes half at most.
		o.MaxTokens = max(own.MaxTokens-chunk.Tokens(title), own.MaxTokens/2)
	}
	if own.Overlap != nil {
		o.OverlapWords = *own.Overlap
	}
	o.OverlapWords = min(o.OverlapWords, o.MaxWords/2)
	o.Structure = own.By == ByStructure
	return o
}
