package elastic

import (
	"math"
	"testing"

	"github.com/poterne/poterne/services/search/internal/index"
)

// Elasticsearch's scores, as its documentation of dense_vector has them, are
// turned back into what they were made of.
func TestScoresAreTurnedBack(t *testing.T) {
	for _, tc := range []struct {
		metric     index.Metric
		similarity string
		score      func(x float64) float64
		of         []float64
	}{
		{index.Cosine, "cosine", func(x float64) float64 { return (1 + x) / 2 }, []float64{-1, -0.3, 0, 0.5, 1}},
		{index.Dot, "max_inner_product", func(x float64) float64 {
			if x < 0 {
				return 1 / (1 - x)
			}
			return x + 1
		}, []float64{-1000, -1, -0.01, 0, 0.5, 3, 1e6}},
		{index.L2, "l2_norm", func(x float64) float64 { return 1 / (1 - x) }, []float64{0, -0.25, -1, -1e4}},
	} {
		if got := similarity(tc.metric); got != tc.similarity {
			t.Errorf("%s is %s", tc.metric, got)
		}
		for _, x := range tc.of {
			if got := measured(tc.metric)(tc.score(x)); math.Abs(got-x) > 1e-9*(1+math.Abs(x)) {
				t.Errorf("%s: %v becomes %v", tc.metric, x, got)
			}
		}
	}
}
