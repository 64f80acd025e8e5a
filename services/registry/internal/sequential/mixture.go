package sequential

import "math"

// logMixture is the logarithm of the e-value of the two-sided normal mixture for
// a process s whose variance is v, mixed over effects of variance 1/rho.
func logMixture(s, v, rho float64) float64 {
	return 0.5*math.Log(rho/(v+rho)) + s*s/(2*(v+rho))
}

// logMixtureAbove is the same for effects above 0 only.
func logMixtureAbove(s, v, rho float64) float64 {
	return math.Ln2 + logMixture(s, v, rho) + logNormalBelow(s/math.Sqrt(v+rho))
}

// logNormalBelow is the logarithm of the standard normal distribution function.
func logNormalBelow(z float64) float64 {
	if z < -30 { // Erfc has nothing left; its first asymptotic term has
		return -z*z/2 - math.Log(-z) - 0.5*math.Log(2*math.Pi)
	}
	return math.Log(0.5 * math.Erfc(-z/math.Sqrt2))
}

// normalRadius is how far a two-sided mixture at level alpha reaches around an
// estimate of the given variance, with effects of variance tau2 in mind.
func normalRadius(variance, tau2, alpha float64) float64 {
	v, rho := 1/variance, 1/tau2
	return math.Sqrt(2*(v+rho)*(math.Log(1/alpha)+0.5*math.Log((v+rho)/rho))) / v
}

// jeffreys is the prior of the beta mixture: its price at a share near 0 or 1 is
// less than that of the uniform one.
const jeffreys = 0.5

// share is what was seen of something with values in [0, 1]: a number of trials
// and the sum of their values.
type share struct {
	sum, n float64
	top    float64 // logarithm of the mixture's likelihood
}

func newShare(sum, n float64) share {
	sum = min(max(sum, 0), n)
	return share{sum, n, logBeta(sum+jeffreys, n-sum+jeffreys) - logBeta(jeffreys, jeffreys)}
}

// logE is the logarithm of the e-value against a mean of p.
func (s share) logE(p float64) float64 {
	out := s.top
	if s.sum > 0 {
		out -= s.sum * math.Log(p)
	}
	if rest := s.n - s.sum; rest > 0 {
		out -= rest * math.Log1p(-p)
	}
	return out
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// bisect returns where pred changes from true to false between from, where it is
// true, and to.
func bisect(from, to float64, pred func(float64) bool) float64 {
	for range 60 {
		mid := from + (to-from)/2
		if pred(mid) {
			from = mid
		} else {
			to = mid
		}
	}
	return from
}

// least returns the least value of a convex function between from and to.
func least(from, to float64, fn func(float64) float64) float64 {
	const golden = 0.6180339887498949
	a, b := to-golden*(to-from), from+golden*(to-from)
	fa, fb := fn(a), fn(b)
	for range 50 {
		if fa < fb {
			to, b, fb = b, a, fa
			a = to - golden*(to-from)
			fa = fn(a)
		} else {
			from, a, fa = a, b, fb
			b = from + golden*(to-from)
			fb = fn(b)
		}
	}
	return min(fa, fb)
}
