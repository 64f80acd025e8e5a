// Package ranking is what a search has found, best first, and how the part that
// is not yet shown travels to the next page: in a token that its reader holds,
// so that any replica can go on, also after a restart. It knows neither texts
// nor who may read them: whoever takes a token's references must read them as
// its bearer. Start reading at Candidate, then Encode.
package ranking

import (
	"hash/fnv"

	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Window is how many hits the pages of one search have together, at most.
const Window = 1000

// Candidate is one passage that was found. A version of a document never
// changes, so neither does what a reference means.
type Candidate struct {
	Ref store.Ref
	// Result is its place in every leg. Its ID is not there on later pages.
	fusion.Result
	// Folded are the passages that it stands for besides its own.
	Folded []store.Ref
	// Reranked and Diversified are nil where those steps did not look at it.
	Reranked    *Reranked
	Diversified *Diversified
}

// Reranked is what the reranking model did with a candidate.
type Reranked struct {
	// Before is its place by the scores of the legs, and Rank that by the model's,
	// both from 1.
	Before, Rank int
	Score        float64
}

// Diversified is how a candidate differs from those before it.
type Diversified struct {
	// Before is its place before, from 1.
	Before                       int
	Relevance, Similarity, Score float64
}

// Ranking is a search that goes on.
type Ranking struct {
	// Mode, Fusion, Legs and Weights are those of the search; Weights are the
	// legs' shares, and Candidate.Parts have no other.
	Mode    string
	Fusion  string
	Legs    []string
	Weights []float64
	// Generation is the collection's that was searched.
	Generation int64
	// RerankedBy is the version of the model; "" when none was asked.
	RerankedBy string
	// Rest are the candidates that are still to be shown.
	Rest []Candidate
	// More says that the index may have more than Rest, and Seen is then what was
	// shown already.
	More bool
	Seen []Shown
}

// Shown is a hit that was shown: which version, and a number that stands for the
// chunk's id, by which it is known in another version.
type Shown struct {
	Ref store.Ref
	ID  uint64
}

// NumberOf is what stands for a chunk's id.
func NumberOf(chunkID string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(chunkID))
	return h.Sum64()
}
