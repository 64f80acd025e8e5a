package fusion

// Method is a way to put the legs of a search together. Its text is what the
// API calls it.
type Method string

// The methods. Each puts the scores of a leg on a scale that all legs share;
// the result's score is their weighted mean.
const (
	// Standardised is a leg's standard scores: a score less the mean of the leg's
	// best hundred, over their deviation. A leg whose scores are all equal says
	// nothing and counts 0. Standard scores need no tuning and beat reciprocal
	// ranks in M. Montague and J. Aslam, "Relevance Score Normalization for
	// Metasearch" (CIKM 2001).
	Standardised Method = "standardised"
	// ReciprocalRank is 1/(60 + rank), and 0 for what the leg did not find: it
	// looks at places alone. From G. Cormack, C. Clarke and S. Büttcher,
	// "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
	// Methods" (SIGIR 2009); with equal weights the score is their sum over the
	// number of legs.
	ReciprocalRank Method = "reciprocal_rank"
	// MinMax is 1 for a leg's best hit and 0 for the last of its best hundred,
	// and in proportion between and below them. In a leg whose scores are all
	// equal, what was found counts 1 and what was not 0.
	MinMax Method = "min_max"
)

// Or is the method, or the other one where it is empty.
func (m Method) Or(other Method) Method {
	if m == "" {
		return other
	}
	return m
}

// scale puts one leg's hits on the common scale.
type scale interface {
	// of is the normalised score of the hit with that rank, from 1.
	of(rank int, score float64) float64
	// missing is that of a chunk which the leg did not find.
	missing() float64
}

// scaleOf returns the method's scale of a leg; an unknown method is Standardised.
func (m Method) scaleOf(hits []Scored) scale {
	switch m {
	case ReciprocalRank:
		return reciprocalRank{}
	case MinMax:
		return newMinMax(hits)
	case Standardised:
		fallthrough
	default:
		return newStandard(hits)
	}
}
