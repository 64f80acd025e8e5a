package sequential

import "math"

// Quantile bounds where a quantile of values lies that were counted into buckets.
// counts[i] is how many values were below bounds[i] and not below bounds[i-1]; the
// last count, for which there is no bound, is of all others. Lower and Upper each
// hold at level alpha over all looks together. What is not known is 0 and +Inf;
// the estimate is the bound below which the bucket lies that holds the quantile.
//
// The number of values below the true quantile is binomial with chance q, so it is
// enough to test that at each bound: no level is spent on how many there are.
func Quantile(counts []int64, bounds []float64, q, alpha float64) Interval {
	var n int64
	for _, c := range counts {
		n += c
	}
	out := Interval{0, 0, math.Inf(1)}
	if n == 0 {
		return out
	}
	var below int64
	estimated := false
	for i, bound := range bounds {
		below += counts[i]
		if share := float64(below) / float64(n); share < q {
			if refuses(below, n, q, alpha) {
				out.Lower = bound
			}
		} else {
			if !estimated {
				out.Estimate, estimated = bound, true
			}
			if share > q && refuses(below, n, q, alpha) {
				out.Upper = bound
				return out
			}
		}
	}
	if !estimated {
		out.Estimate = bounds[len(bounds)-1]
	}
	return out
}

func refuses(x, n int64, p, alpha float64) bool {
	return newShare(float64(x), float64(n)).logE(p) >= math.Log(1/alpha)
}
