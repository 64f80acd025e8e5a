package sequential

import "math"

// The pairs of means that exactAbove has in mind: something that is rare, beside
// something that is a few times as frequent. Validity does not depend on them; a
// candidate that is badly broken is found with a sixth fewer requests than with the
// arms' own mixtures, which expect every share of either alike.
const (
	// plainShare is the weight of the arms' own mixtures.
	plainShare = 0.2
	// trust is how many values a pair counts for, in successes.
	trust = 1.5
	// mostLikely bounds the mean that is expected of the second arm.
	mostLikely = 0.5
)

// logPairs is the logarithm of the likelihood of what was seen of both arms, mixed
// over pairs of means: with plainShare the arms' own mixtures, and else those about
// a rate of the first arm and three or nine times that of the second.
func logPairs(a, b share) float64 {
	rates, times := [...]float64{0.001, 0.003, 0.01, 0.03, 0.1}, [...]float64{3, 9}
	logs := [1 + len(rates)*len(times)]float64{math.Log(plainShare) + a.top + b.top}
	each := math.Log((1 - plainShare) / float64(len(logs)-1))
	most, i := logs[0], 1
	for _, p := range rates {
		first := a.logAbout(p)
		for _, t := range times {
			logs[i] = each + first + b.logAbout(min(t*p, mostLikely))
			most = max(most, logs[i])
			i++
		}
	}
	var sum float64
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum)
}

// logAbout is the logarithm of the likelihood mixed over a beta distribution with
// mean p.
func (s share) logAbout(p float64) float64 {
	x, y := trust, trust*(1-p)/p
	return logBeta(s.sum+x, s.n-s.sum+y) - logBeta(x, y)
}

// exactAbove is the logarithm of the least e-value against any pair of means in
// which b's is at most r times a's. For every pair of means in the mixture the
// likelihood ratio to a pair in the hypothesis is a test supermartingale, and so is
// their mixture; the hypothesis is refused when every member of it is.
func exactAbove(a, b Sample, r float64) float64 {
	sa, sb := newShare(a.Sum, a.N), newShare(b.Sum, b.N)
	return logPairs(sa, sb) - sa.top - sb.top + leastAlong(sa, sb, r)
}
