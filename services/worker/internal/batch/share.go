package batch

import (
	"math"
	"slices"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// apportion divides total by weight so that the parts add up to it exactly: each
// gets its share rounded down, and what is left goes to the largest remainders.
// Weights that add up to the total are the parts themselves.
func apportion(total int32, weights []int64) []int32 {
	parts := make([]int32, len(weights))
	var sum int64
	for _, w := range weights {
		sum += w
	}
	if sum == 0 {
		weights, sum = slices.Repeat([]int64{1}, len(weights)), int64(len(weights))
	}
	type rest struct {
		of   int
		left int64
	}
	rests := make([]rest, len(weights))
	missing := total
	for i, w := range weights {
		parts[i] = int32(int64(total) * w / sum)
		rests[i] = rest{i, int64(total) * w % sum}
		missing -= parts[i]
	}
	slices.SortStableFunc(rests, func(a, b rest) int { return int(min(max(b.left-a.left, -1), 1)) })
	for _, r := range rests[:missing] {
		parts[r.of]++
	}
	return parts
}

// shares divides a batch's usage among its callers.
func shares(total *commonv1.TokenUsage, weights []int64) []*commonv1.TokenUsage {
	prompt := apportion(total.GetPromptTokens(), weights)
	byPrompt := make([]int64, len(prompt))
	for i, n := range prompt {
		byPrompt[i] = int64(n)
	}
	// By what each was given, so that no part has more of the cache than it has.
	cached := apportion(total.GetCachedPromptTokens(), byPrompt)
	out := make([]*commonv1.TokenUsage, len(weights))
	for i := range out {
		out[i] = &commonv1.TokenUsage{PromptTokens: prompt[i], CachedPromptTokens: cached[i]}
	}
	return out
}

// add adds counts of tokens; a sum that is too large is the largest number.
func add(a, b int32) int32 { return int32(min(int64(a)+int64(b), math.MaxInt32)) }
