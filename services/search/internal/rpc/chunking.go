package rpc

import (
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/store"
)

// byParagraphs is the way of cutting that needs no name.
const byParagraphs = "paragraphs"

func chunkingOf(c *searchv1.Chunking) store.Chunking {
	out := store.Chunking{By: c.GetBy(), MaxWords: int(c.GetMaxWords()), MaxTokens: int(c.GetMaxTokens())}
	if out.By == byParagraphs {
		out.By = ""
	}
	if c != nil && c.OverlapWords != nil {
		n := int(c.GetOverlapWords())
		out.Overlap = &n
	}
	return out
}

// chunkingToProto returns nil for a collection that says nothing of its own.
func chunkingToProto(c store.Chunking) *searchv1.Chunking {
	if c == (store.Chunking{}) {
		return nil
	}
	out := &searchv1.Chunking{By: c.By, MaxWords: int32of(c.MaxWords), MaxTokens: int32of(c.MaxTokens)}
	if out.By == "" {
		out.By = byParagraphs
	}
	if c.Overlap != nil {
		n := int32of(*c.Overlap)
		out.OverlapWords = &n
	}
	return out
}
