package sequential

import "math"

// maxRatio bounds where ratios are looked for.
const maxRatio = 1e6

// Ratio is the confidence sequence of the relative effect: the mean of b divided
// by that of a, less 1. Without enough values it reaches from -1 to +Inf. Means
// must not be negative.
func Ratio(a, b Sample, alpha float64) Interval {
	out := Interval{math.NaN(), -1, math.Inf(1)}
	if a.Mean() <= 0 {
		if a.N > 0 && b.N > 0 && a.Unit && b.Unit { // no estimate, but perhaps a bound
			out.Lower = lowest(a, b, alpha, aboveEither) - 1
		}
		return out
	}
	r := b.Mean() / a.Mean()
	out.Estimate = r - 1
	out.Lower = lowest(a, b, alpha, aboveEither) - 1
	if !belowEither(a, b, maxRatio, alpha) {
		return out
	}
	out.Upper = bisect(r, maxRatio, func(x float64) bool { return !belowEither(a, b, x, alpha) }) - 1
	return out
}

// Worse is the one-sided test that the mean of b is more than (1+allowed) times
// that of a, at level alpha over all looks together. bound is the relative effect
// that b surely has: the lower end of its one-sided confidence sequence.
func Worse(a, b Sample, allowed, alpha float64) (worse bool, bound float64) {
	bound = lowest(a, b, alpha, Above) - 1
	return Above(a, b, 1+allowed, alpha), bound
}

// lowest is the greatest ratio that the test refuses as too low; 0 when it refuses
// none.
func lowest(a, b Sample, alpha float64, above func(a, b Sample, r, alpha float64) bool) float64 {
	if !above(a, b, 1/maxRatio, alpha) {
		return 0
	}
	top := maxRatio
	if m := a.Mean(); m > 0 {
		top = min(top, b.Mean()/m)
	}
	return bisect(1/maxRatio, top, func(x float64) bool { return above(a, b, x, alpha) })
}

// Above reports whether the mean of b is surely more than r times that of a: a
// one-sided test of level alpha over all looks together.
func Above(a, b Sample, r, alpha float64) bool {
	if b.Mean() <= r*a.Mean() {
		return false
	}
	if a.Unit && b.Unit && exactAbove(a, b, r) >= math.Log(1/(exactShare*alpha)) {
		return true
	}
	if !a.large() || !b.large() {
		return false
	}
	s, v, rho := process(a, b, r)
	return logMixtureAbove(s, v, rho) >= math.Log(1/asymptoticLevel(a, b, alpha))
}

// aboveEither and belowEither are the two sides of the two-sided test.
func aboveEither(a, b Sample, r, alpha float64) bool {
	return b.Mean() > r*a.Mean() && apart(a, b, r, alpha)
}

func belowEither(a, b Sample, r, alpha float64) bool {
	return b.Mean() < r*a.Mean() && apart(a, b, r, alpha)
}

func apart(a, b Sample, r, alpha float64) bool {
	if a.Unit && b.Unit && exactE(a, b, r) >= math.Log(1/(exactShare*alpha)) {
		return true
	}
	if !a.large() || !b.large() {
		return false
	}
	s, v, rho := process(a, b, r)
	return logMixture(s, v, rho) >= math.Log(1/asymptoticLevel(a, b, alpha))
}

func asymptoticLevel(a, b Sample, alpha float64) float64 {
	if a.Unit && b.Unit {
		return (1 - exactShare) * alpha
	}
	return alpha
}

// process is b's mean less r times a's as a Gaussian process in its information:
// sample means have independent increments in that time, whatever shares of the
// traffic the arms have and had (Scharfstein, Tsiatis, Robins 1997).
func process(a, b Sample, r float64) (s, v, rho float64) {
	theta := b.Mean() - r*a.Mean()
	variance := b.variance()/b.N + r*r*a.variance()/a.N
	if variance <= 0 || math.IsInf(variance, 0) {
		return 0, 0, 1
	}
	size := max(math.Abs(r*a.Mean()), math.Abs(b.Mean())/4)
	return theta / variance, 1 / variance, 1 / scale2(size)
}

// exactE is the logarithm of the least e-value against any pair of means in which
// b's is r times a's. Each arm's e-value is a test martingale of its own, and so
// is their product; the null hypothesis is refused when every member of it is.
func exactE(a, b Sample, r float64) float64 {
	return leastAlong(newShare(a.Sum, a.N), newShare(b.Sum, b.N), r)
}

// leastAlong is the least of both arms' e-values together over the pairs of means
// in which b's is r times a's.
func leastAlong(sa, sb share, r float64) float64 {
	top := min(1, 1/r)
	const edge = 1e-12
	return least(edge, top*(1-edge), func(p float64) float64 { return sa.logE(p) + sb.logE(r*p) })
}
