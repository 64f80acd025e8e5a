package fleet

import (
	"math"
	"sync/atomic"
)

// averageShare is the weight of the newest observation.
const averageShare = 1.0 / 16

// Average is an exponentially weighted moving average of positive values. It is
// safe for concurrent use; the zero value has seen nothing.
type Average struct{ bits atomic.Uint64 }

// Observe adds a value; what is not positive is left out.
func (a *Average) Observe(v float64) {
	if !(v > 0) || math.IsInf(v, 0) {
		return
	}
	for {
		old := a.bits.Load()
		next := v
		if old != 0 {
			mean := math.Float64frombits(old)
			next = mean + (v-mean)*averageShare
		}
		if a.bits.CompareAndSwap(old, math.Float64bits(next)) {
			return
		}
	}
}

// Or returns the average, or v while nothing was seen.
func (a *Average) Or(v float64) float64 {
	if bits := a.bits.Load(); bits != 0 {
		return math.Float64frombits(bits)
	}
	return v
}
