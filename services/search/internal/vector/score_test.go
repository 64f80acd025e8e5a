package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Whatever code the processor has for it, and wherever the vectors lie.
func TestDot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float32, 600), make([]float32, 600)
	for i := range a {
		a[i], b[i] = rng.Float32()-0.5, rng.Float32()-0.5
	}
	for n := range 520 {
		x, y := a[n%7:n%7+n], b[n%5:n%5+n]
		want := 0.0
		for i := range x {
			want += float64(x[i]) * float64(y[i])
		}
		if got := float64(Dot(x, y)); math.Abs(got-want) > 1e-5 {
			t.Errorf("%d dimensions: %v, want %v", n, got, want)
		}
	}
}
