// Package ireval measures how well a search ranks, by queries whose relevant
// documents are known. It knows rankings and judgements, and of searching
// nothing; start reading at NDCG.
package ireval

import (
	"math"
	"slices"
)

// Grades are a query's judgements by document: above 0 is relevant, the higher
// the more. A document without one is not relevant.
type Grades map[string]float64

// Relevant is how many documents are relevant. A query that has none says
// nothing of a search, and belongs in no mean.
func (g Grades) Relevant() int {
	n := 0
	for _, grade := range g {
		if grade > 0 {
			n++
		}
	}
	return n
}

// NDCG is the normalised discounted cumulative gain of the first k of a
// ranking, 0 to 1, as trec_eval's ndcg_cut has it: the gain is the grade itself
// (below 0 it is 0), the discount log2(place + 1), and the ideal ranking is that
// of all judged documents. It is 0 without any relevant document. No document
// may be ranked twice: see Distinct. From K. Järvelin and J. Kekäläinen,
// "Cumulated gain-based evaluation of IR techniques" (TOIS 2002).
func NDCG(ranked []string, grades Grades, k int) float64 {
	ideal := make([]float64, 0, len(grades))
	for _, g := range grades {
		ideal = append(ideal, g)
	}
	slices.Sort(ideal)
	slices.Reverse(ideal)
	best := gain(ideal, k)
	if best == 0 {
		return 0
	}
	got := make([]float64, len(ranked))
	for i, d := range ranked {
		got[i] = grades[d]
	}
	return gain(got, k) / best
}

func gain(grades []float64, k int) float64 {
	sum := 0.0
	for i, g := range grades[:min(max(k, 0), len(grades))] {
		sum += max(g, 0) / math.Log2(float64(i)+2)
	}
	return sum
}

// Recall is which part of the relevant documents is among the first k of a
// ranking, 0 to 1; 0 without any relevant document. No document may be ranked
// twice.
func Recall(ranked []string, grades Grades, k int) float64 {
	all, found := grades.Relevant(), 0
	if all == 0 {
		return 0
	}
	for _, d := range ranked[:min(max(k, 0), len(ranked))] {
		if grades[d] > 0 {
			found++
		}
	}
	return float64(found) / float64(all)
}

// Distinct returns each document once, where it is ranked first: a search for
// passages finds several of one document.
func Distinct(ranked []string) []string {
	seen := make(map[string]bool, len(ranked))
	var out []string
	for _, d := range ranked {
		if !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}
