// Package mmr puts hits in an order in which each is relevant and differs from
// those before it: maximal marginal relevance, of J. Carbonell and J. Goldstein,
// "The use of MMR, diversity-based reranking for reordering documents and
// producing summaries" (SIGIR 1998). It knows scores and vectors only; start
// reading at Order.
package mmr

import (
	"slices"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// Choice is one hit in the new order.
type Choice struct {
	// Index is its place in the old one, from 0.
	Index int
	// Relevance is its score on a scale from 0, the worst, to 1, the best; all are
	// 1 when they are equal.
	Relevance float64
	// Similarity is the cosine to the most similar hit before it; 0 for the first.
	Similarity float64
	// Score is what it was chosen by: (1-diversity)*Relevance - diversity*Similarity.
	Score float64
}

// Order returns all hits in the new order. scores are theirs in the old one,
// best first; vectors are of one length each or missing, and what has none is
// similar to nothing. diversity is 0 to 1; at 0 the order stays. Of equal ones
// the first in the old order is chosen. It takes time in proportion to the
// square of their number.
func Order(scores []float64, vectors [][]float32, diversity float64) []Choice {
	if len(scores) == 0 {
		return nil
	}
	// Halved, lest the difference of finite scores is none.
	low, high := slices.Min(scores)/2, slices.Max(scores)/2
	rest := make([]Choice, len(scores))
	for i, s := range scores {
		rest[i] = Choice{Index: i, Relevance: 1}
		if high > low {
			rest[i].Relevance = (s/2 - low) / (high - low)
		}
	}
	units := make([][]float32, len(vectors))
	for i, v := range vectors {
		units[i] = vector.Normalized(v)
	}
	out := make([]Choice, 0, len(scores))
	for len(rest) > 0 {
		best := 0
		for i := range rest {
			rest[i].Score = (1-diversity)*rest[i].Relevance - diversity*rest[i].Similarity
			if rest[i].Score > rest[best].Score {
				best = i
			}
		}
		chosen := rest[best]
		out = append(out, chosen)
		rest = slices.Delete(rest, best, best+1)
		for i := range rest {
			c := cosine(units[rest[i].Index], units[chosen.Index])
			if len(out) == 1 || c > rest[i].Similarity {
				rest[i].Similarity = c
			}
		}
	}
	return out
}

func cosine(a, b []float32) float64 {
	if len(a) == 0 || len(a) != len(b) {
		return 0
	}
	return float64(vector.Dot(a, b))
}
