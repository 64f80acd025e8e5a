// Package nearduplicate finds texts that nearly repeat another. It knows texts
// only; start reading at Fold.
//
// Two texts are compared by their resemblance: the share of their shingles, runs
// of three words, that they have in common (the Jaccard coefficient of the two
// sets), as in A. Broder, "On the resemblance and containment of documents"
// (1997). Broder estimates it from the smallest hashes of each set. Here the
// coefficient itself is exact, and see folder for which texts need not be compared.
package nearduplicate

import (
	"hash/fnv"
	"slices"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

const (
	// shingleWords is how many words a shingle has.
	shingleWords = 3
	// Threshold is the resemblance from which on a text repeats another: in a
	// passage of 200 words about ten may differ.
	Threshold = 0.7
)

// Set is the shingles of a text, as growing hashes.
type Set []uint64

// Of returns the shingles of a text; how it writes its words and what stands
// between them makes no difference. A text of fewer words than a shingle has is
// one shingle, and one without words has none and repeats nothing.
func Of(text string) Set {
	words := analysis.Tokens(text)
	if len(words) == 0 {
		return nil
	}
	n := max(1, len(words)-shingleWords+1)
	out := make(Set, 0, n)
	for i := range n {
		h := fnv.New64a()
		for _, w := range words[i:min(i+shingleWords, len(words))] {
			_, _ = h.Write([]byte(w.Word))
			_, _ = h.Write([]byte{0})
		}
		out = append(out, h.Sum64())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Resemblance is the Jaccard coefficient of two sets, 0 to 1.
func Resemblance(a, b Set) float64 {
	common := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			common++
			i++
			j++
		case a[i] < b[j]:
			i++
		default:
			j++
		}
	}
	if common == 0 {
		return 0
	}
	return float64(common) / float64(len(a)+len(b)-common)
}
