// Package outcome adds sums of outcomes up and knows the buckets that durations
// are counted into. It knows neither tables nor tests. Begin with Add.
package outcome

import (
	"math"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Buckets is how many buckets durations have.
const Buckets = 161

// Bounds are the upper ends of the buckets but the last, in seconds: each is 9 %
// above the one before, from 1 ms to 17 minutes.
func Bounds() []float64 {
	out := make([]float64, Buckets-1)
	for i := range out {
		out[i] = math.Exp2(float64(i)/8) / 1000
	}
	return out
}

// Counts returns the buckets in their order.
func Counts(d *registryv1.Durations) []int64 {
	out := make([]int64, Buckets)
	copy(out, d.GetCounts())
	return out
}

// Add adds src to dst. It keeps nothing of src.
func Add(dst, src *registryv1.OutcomeSums) {
	dst.Requests += src.GetRequests()
	dst.Errors += src.GetErrors()
	dst.Refusals += src.GetRefusals()
	dst.Cancelled += src.GetCancelled()
	dst.Rejected += src.GetRejected()
	dst.FirstTokenSeconds = moments(dst.GetFirstTokenSeconds(), src.GetFirstTokenSeconds())
	dst.TokensPerSecond = moments(dst.GetTokensPerSecond(), src.GetTokensPerSecond())
	dst.OutputTokens = moments(dst.GetOutputTokens(), src.GetOutputTokens())
	dst.Cost = moments(dst.GetCost(), src.GetCost())
	dst.Feedback = moments(dst.GetFeedback(), src.GetFeedback())
	dst.Duration = durations(dst.GetDuration(), src.GetDuration())
	dst.FirstToken = durations(dst.GetFirstToken(), src.GetFirstToken())
}

func moments(dst, src *registryv1.Moments) *registryv1.Moments {
	if src.GetCount() == 0 {
		return dst
	}
	if dst == nil {
		dst = new(registryv1.Moments)
	}
	dst.Count += src.GetCount()
	dst.Sum += src.GetSum()
	dst.SumSquares += src.GetSumSquares()
	return dst
}

func durations(dst, src *registryv1.Durations) *registryv1.Durations {
	if len(src.GetCounts()) == 0 {
		return dst
	}
	if dst == nil {
		dst = new(registryv1.Durations)
	}
	if more := len(src.GetCounts()) - len(dst.GetCounts()); more > 0 {
		dst.Counts = append(dst.Counts, make([]int64, more)...)
	}
	for i, n := range src.GetCounts() {
		dst.Counts[i] += n
	}
	return dst
}
