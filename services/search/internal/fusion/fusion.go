// Package fusion puts the legs of a hybrid search together. It knows only
// scores; start reading at Standardised.
package fusion

import (
	"cmp"
	"math"
	"slices"
)

// NameStandardised is how explanations call Standardised.
const NameStandardised = "standardised"

// Scored is one chunk that a leg found.
type Scored struct {
	// ID is the chunk's id; it decides between equal scores.
	ID    string
	Score float64
}

// Leg is one ranking, best first.
type Leg struct {
	Name   string
	Weight float64
	Hits   []Scored
}

// Part is what one leg says of one result.
type Part struct {
	// Rank is the place in the leg from 1, or 0 when the leg did not find it.
	Rank int
	// Score is the leg's own score; 0 when the leg did not find it.
	Score float64
	// Normalized is the score on the common scale.
	Normalized float64
	// Weight is the leg's weight.
	Weight float64
}

// Result is one chunk with its place in every leg, in the order of the legs.
type Result struct {
	ID    string
	Score float64
	Parts []Part
}

// scaleHits is how many of a leg's best hits give its mean and deviation. A
// leg may be longer, when many results are asked for, without another scale.
const scaleHits = 100

// Standardised sums, for every chunk, the legs' standard scores: a leg's score
// less the mean of the leg's best hundred, over their deviation, times the leg's
// weight over all weights. A chunk that a leg did not find counts as the leg's worst hit: the
// leg's bound is all that is known of it. A leg whose scores are all equal says
// nothing and counts 0. Results are ordered best first, ties by id.
//
// Standard scores need no tuning and beat reciprocal ranks in M. Montague and
// J. Aslam, "Relevance Score Normalization for Metasearch" (CIKM 2001).
func Standardised(legs []Leg) []Result {
	total := 0.0
	for _, l := range legs {
		total += l.Weight
	}
	if total <= 0 {
		total = 1
	}
	at := make(map[string]int)
	var out []Result
	for _, l := range legs {
		for _, h := range l.Hits {
			if _, ok := at[h.ID]; !ok {
				at[h.ID] = len(out)
				out = append(out, Result{ID: h.ID, Parts: make([]Part, len(legs))})
			}
		}
	}
	for i, l := range legs {
		s := scaleOf(l.Hits)
		for j := range out {
			out[j].Parts[i] = Part{Normalized: s.worst(), Weight: l.Weight / total}
		}
		for rank, h := range l.Hits {
			p := &out[at[h.ID]].Parts[i]
			p.Rank, p.Score, p.Normalized = rank+1, h.Score, s.of(h.Score)
		}
	}
	for i := range out {
		for _, p := range out[i].Parts {
			out[i].Score += p.Weight * p.Normalized
		}
	}
	slices.SortFunc(out, func(a, b Result) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Single is the ranking of one leg alone, in the form of Standardised: the
// score is the leg's own.
func Single(leg Leg) []Result {
	out := make([]Result, len(leg.Hits))
	for i, h := range leg.Hits {
		out[i] = Result{
			ID: h.ID, Score: h.Score,
			Parts: []Part{{Rank: i + 1, Score: h.Score, Normalized: h.Score, Weight: 1}},
		}
	}
	return out
}

// scale is a leg's mean, deviation and lowest score.
type scale struct{ mean, deviation, lowest float64 }

func scaleOf(hits []Scored) scale {
	if len(hits) == 0 {
		return scale{}
	}
	s := scale{lowest: hits[len(hits)-1].Score}
	hits = hits[:min(len(hits), scaleHits)]
	for _, h := range hits {
		s.mean += h.Score
	}
	s.mean /= float64(len(hits))
	for _, h := range hits {
		d := h.Score - s.mean
		s.deviation += d * d
	}
	s.deviation = math.Sqrt(s.deviation / float64(len(hits)))
	return s
}

// tiny is a deviation that is only rounding.
const tiny = 1e-9

func (s scale) of(score float64) float64 {
	if s.deviation <= tiny*max(1, math.Abs(s.mean)) {
		return 0
	}
	return (score - s.mean) / s.deviation
}

func (s scale) worst() float64 { return s.of(s.lowest) }
