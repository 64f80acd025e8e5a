package outcomes

import (
	"math"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// lastBucket holds what is longer than all others.
const lastBucket = 160

// bucket is where a duration is counted: from 2^((i-1)/8) up to 2^(i/8) ms.
func bucket(d time.Duration) int {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 1 {
		return 0
	}
	i := int(math.Floor(8*math.Log2(ms))) + 1
	return min(i, lastBucket)
}

func count(h *registryv1.Durations, d time.Duration) *registryv1.Durations {
	if h == nil {
		h = new(registryv1.Durations)
	}
	i := bucket(d)
	if more := i + 1 - len(h.GetCounts()); more > 0 {
		h.Counts = append(h.Counts, make([]int64, more)...)
	}
	h.Counts[i]++
	return h
}
