package query

import (
	"fmt"
	"slices"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/highlight"
	"github.com/poterne/poterne/services/search/internal/ranking"
	"github.com/poterne/poterne/services/search/internal/store"
)

// NearDuplicates are passages that nearly repeat a hit.
type NearDuplicates struct {
	Count int
	// Documents are theirs, each once, by id; at most maxDocuments.
	Documents []string
}

// maxDocuments is how many documents of near-duplicates are named.
const maxDocuments = 100

// references are all that must be read to show the candidates.
func references(page []ranking.Candidate) []store.Ref {
	out := make([]store.Ref, 0, len(page))
	for _, c := range page {
		out = append(append(out, c.Ref), c.Folded...)
	}
	return out
}

// allThere reports whether no candidate was replaced meanwhile.
func allThere(page []ranking.Candidate, passages map[store.Ref]store.Passage) bool {
	for _, c := range page {
		if _, ok := passages[c.Ref]; !ok {
			return false
		}
	}
	return true
}

// hits are the candidates whose passages were read.
func hits(page []ranking.Candidate, passages map[store.Ref]store.Passage, terms []analysis.Term) []Hit {
	out := make([]Hit, 0, len(page))
	for _, c := range page {
		p, ok := passages[c.Ref]
		if !ok {
			continue
		}
		h := Hit{
			Result: c.Result, Passage: p, Highlights: highlight.Fragments(p.Chunk.Text, terms),
			NearDuplicates: nearDuplicates(c.Folded, passages), Reranked: c.Reranked, Diversified: c.Diversified,
		}
		h.ID = chunkID(p)
		out = append(out, h)
	}
	return out
}

// chunkID is a passage's public id.
func chunkID(p store.Passage) string { return fmt.Sprintf("%s#%d", p.DocumentID, p.Chunk.Number) }

func nearDuplicates(folded []store.Ref, passages map[store.Ref]store.Passage) NearDuplicates {
	var out NearDuplicates
	for _, r := range folded {
		if p, ok := passages[r]; ok {
			out.Count++
			out.Documents = append(out.Documents, p.DocumentID)
		}
	}
	slices.Sort(out.Documents)
	out.Documents = slices.Compact(out.Documents)
	out.Documents = out.Documents[:min(len(out.Documents), maxDocuments)]
	return out
}
