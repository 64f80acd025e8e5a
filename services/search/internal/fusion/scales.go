package fusion

import "math"

// scaleHits is how many of a leg's best hits give its scale. A leg may be
// longer, when many results are asked for, without another scale.
const scaleHits = 100

// tiny is a spread of scores that is only rounding, by the size of the scores.
const tiny = 1e-9

// standard is the scale of Standardised. A chunk that the leg did not find
// counts as the leg's worst hit: the leg's bound is all that is known of it.
type standard struct{ mean, deviation, lowest float64 }

func newStandard(hits []Scored) standard {
	if len(hits) == 0 {
		return standard{}
	}
	s := standard{lowest: hits[len(hits)-1].Score}
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

func (s standard) of(_ int, score float64) float64 {
	if s.deviation <= tiny*max(1, math.Abs(s.mean)) {
		return 0
	}
	return (score - s.mean) / s.deviation
}

func (s standard) missing() float64 { return s.of(0, s.lowest) }

// rankConstant is the k of reciprocal rank fusion: the paper's, which it found
// near the best over many collections.
const rankConstant = 60

// reciprocalRank is the scale of ReciprocalRank.
type reciprocalRank struct{}

func (reciprocalRank) of(rank int, _ float64) float64 { return 1 / float64(rankConstant+rank) }

func (reciprocalRank) missing() float64 { return 0 }

// minMax is the scale of MinMax. A chunk that the leg did not find counts as
// the leg's worst hit, as in standard.
type minMax struct{ low, high, lowest float64 }

func newMinMax(hits []Scored) minMax {
	if len(hits) == 0 {
		return minMax{}
	}
	best := hits[:min(len(hits), scaleHits)]
	return minMax{low: best[len(best)-1].Score, high: best[0].Score, lowest: hits[len(hits)-1].Score}
}

// flat says that the scores of the leg's best are all equal.
func (s minMax) flat() bool {
	return s.high-s.low <= tiny*max(1, math.Abs(s.high))
}

func (s minMax) of(_ int, score float64) float64 {
	switch {
	case !s.flat():
		return (score - s.low) / (s.high - s.low)
	case score >= s.low:
		return 1
	default: // of a longer leg
		return 0
	}
}

func (s minMax) missing() float64 {
	if s.flat() {
		return 0
	}
	return s.of(0, s.lowest)
}
