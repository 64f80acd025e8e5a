// Package fusion puts the legs of a hybrid search together. It knows only
// scores; start reading at Fuse.
package fusion

import (
	"cmp"
	"math"
	"slices"
)

// Scored is one chunk that a leg found.
type Scored struct {
	// ID is the chunk's id; it decides between equal scores.
	ID    string
	Score float64
}

// Leg is one ranking, in any order: the best score is the best hit.
type Leg struct {
	Name string
	// Weight is how much the leg counts, 0 or more, by proportion to the others'.
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
	// Weight is the leg's share of all weights.
	Weight float64
}

// Result is one chunk with its place in every leg, in the order of the legs.
type Result struct {
	ID    string
	Score float64
	Parts []Part
}

// Fuse returns what the legs found, best first, ties by id. A result's score is
// the sum of its normalised scores, each times the leg's share of all weights.
// A leg of weight 0 brings no results of its own, so that a leg which has all
// the weight ranks as if it were alone; without any weight there are none. It
// is safe for concurrent use and leaves the legs as they are.
func Fuse(m Method, legs []Leg) []Result {
	total, active := 0.0, 0
	for _, l := range legs {
		total += l.Weight
		if l.Weight > 0 {
			active++
		}
	}
	at := make(map[string]int)
	var out []Result
	ranked := make([][]Scored, len(legs))
	for i, l := range legs {
		ranked[i] = rank(l.Hits)
		if l.Weight <= 0 {
			continue
		}
		for _, h := range ranked[i] {
			if _, ok := at[h.ID]; !ok {
				at[h.ID] = len(out)
				out = append(out, Result{ID: h.ID, Parts: make([]Part, len(legs))})
			}
		}
	}
	for i, l := range legs {
		s := m.scaleOf(ranked[i])
		for j := range out {
			out[j].Parts[i] = Part{Normalized: s.missing(), Weight: l.Weight / total}
		}
		for place, h := range ranked[i] {
			if j, ok := at[h.ID]; ok {
				p := &out[j].Parts[i]
				p.Rank, p.Score, p.Normalized = place+1, h.Score, s.of(place+1, h.Score)
			}
		}
	}
	for i := range out {
		for _, p := range out[i].Parts {
			out[i].Score += p.Weight * p.Normalized
		}
	}
	if active > 1 { // one leg has its order already, also where the scale rounds
		slices.SortFunc(out, func(a, b Result) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
		})
	}
	return out
}

// Single is the ranking of one leg alone, in the form of Fuse: the score is the
// leg's own.
func Single(leg Leg) []Result {
	hits := rank(leg.Hits)
	out := make([]Result, len(hits))
	for i, h := range hits {
		out[i] = Result{
			ID: h.ID, Score: h.Score,
			Parts: []Part{{Rank: i + 1, Score: h.Score, Normalized: h.Score, Weight: 1}},
		}
	}
	return out
}

// most is beyond any leg's score; squares and sums of it are still numbers.
const most = 1e100

// rank returns the hits best first, ties by id, with scores that can be reckoned
// with: one that is no number is the worst.
func rank(hits []Scored) []Scored {
	out := make([]Scored, len(hits))
	for i, h := range hits {
		if math.IsNaN(h.Score) {
			h.Score = -most
		}
		h.Score = min(max(h.Score, -most), most)
		out[i] = h
	}
	slices.SortFunc(out, func(a, b Scored) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	return out
}
