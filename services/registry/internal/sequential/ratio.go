package sequential

import "math"

// concentration says how far from the intended shares the alternatives lie that
// SampleRatio has in mind: about a tenth at equal shares. Validity does not depend
// on it.
const concentration = 100

// SampleRatio is the logarithm of the e-value against the hypothesis that subjects
// fall into the arms with the given chances, which add up to 1. It may be looked
// at after every subject: a value of log(1/alpha) or more comes up with probability
// alpha at most. E-values of separate sets of subjects multiply, so their
// logarithms add. A subject in an arm of chance 0 makes it +Inf.
func SampleRatio(counts []int64, chances []float64) float64 {
	var out, n, sum float64
	for i, c := range counts {
		x, p := float64(c), chances[i]
		if p <= 0 {
			if c > 0 {
				return math.Inf(1)
			}
			continue
		}
		a := concentration * p
		before, _ := math.Lgamma(a)
		after, _ := math.Lgamma(a + x)
		out += after - before - x*math.Log(p)
		n += x
		sum += a
	}
	before, _ := math.Lgamma(sum)
	after, _ := math.Lgamma(sum + n)
	return out + before - after
}
