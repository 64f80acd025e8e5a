package sequential

import "math"

// Sample is what was seen of one quantity in one arm.
type Sample struct {
	// N is how many values there are, Sum their sum, SumSquares that of their
	// squares.
	N, Sum, SumSquares float64
	// Unit says that no value is below 0 or above 1, so that small samples tell
	// something too.
	Unit bool
}

// Count is the sample of n trials of which x had the value 1 and the rest 0.
func Count(x, n int64) Sample {
	return Sample{N: float64(n), Sum: float64(x), SumSquares: float64(x), Unit: true}
}

// Add returns both samples together.
func (s Sample) Add(o Sample) Sample {
	return Sample{s.N + o.N, s.Sum + o.Sum, s.SumSquares + o.SumSquares, s.Unit && o.Unit}
}

// Mean is the mean; 0 without a value.
func (s Sample) Mean() float64 {
	if s.N <= 0 {
		return 0
	}
	return s.Sum / s.N
}

// variance is that of one value.
func (s Sample) variance() float64 {
	if s.N < 2 {
		return math.Inf(1)
	}
	m := s.Mean()
	return max((s.SumSquares-s.N*m*m)/(s.N-1), 0)
}

// large reports whether the central limit theorem may be leaned on. A share needs
// so many of the rarer outcome, because few of them are skewed.
func (s Sample) large() bool {
	const rare, many = 20, 100
	if s.Unit {
		return s.Sum >= rare && s.N-s.Sum >= rare
	}
	return s.N >= many && s.variance() > 0
}

// The level is divided between what holds for few values and what is sharper for
// many: both together are wrong no more often than alpha.
const exactShare = 0.4

// Interval is an estimate and its confidence sequence at this moment.
type Interval struct {
	Estimate, Lower, Upper float64
}

// Mean is the confidence sequence of the sample's mean. Values in [0, 1] have an
// exact one, which is never empty; others have one from 100 values on, and before
// it is all numbers.
func Mean(s Sample, alpha float64) Interval {
	m := s.Mean()
	if s.Unit {
		sh := newShare(s.Sum, s.N)
		out := func(p float64) bool { return sh.logE(p) < math.Log(1/alpha) }
		return Interval{m, bisectOut(m, 0, out), bisectOut(m, 1, out)}
	}
	if !s.large() {
		return Interval{m, math.Inf(-1), math.Inf(1)}
	}
	variance := s.variance() / s.N
	// Tightest about a twentieth of the mean, as for effects.
	r := normalRadius(variance, scale2(m), alpha)
	return Interval{m, m - r, m + r}
}

// bisectOut returns how far the interval around m reaches towards end.
func bisectOut(m, end float64, in func(float64) bool) float64 {
	if in(end) {
		return end
	}
	return bisect(m, end, in)
}

// relativeEffect is the size of effects for which boundaries are tightest: a
// twentieth. Validity does not depend on it.
const relativeEffect = 0.05

// scale2 is the variance of effects on a quantity of the given size.
func scale2(size float64) float64 {
	return max(relativeEffect*relativeEffect*size*size, math.SmallestNonzeroFloat64*1e16)
}
