package evidence

import (
	"fmt"
	"math"
	"strings"

	"github.com/poterne/poterne/services/registry/internal/sequential"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// mismatchLevel is how often a check of the sample ratio may give a false alarm
// over the whole experiment: it blocks every verdict, so it has to be rare.
const mismatchLevel = 0.001

// ratio is whether subjects fall into the arms as they should.
type ratio struct {
	pValue   float64
	mismatch bool
	words    string
	subjects map[string]int64
}

// sampleRatio checks the subjects of each etag against the weights at it: the
// e-values of separate sets multiply.
func sampleRatio(exposed []store.Exposed) ratio {
	out := ratio{subjects: make(map[string]int64)}
	var logE float64
	expected := make(map[string]float64)
	var order []string
	var total int64
	for _, e := range exposed {
		var weight, subjects float64
		for i := range e.Arms {
			weight += float64(e.Weights[i])
			subjects += float64(e.Subjects[i])
		}
		if weight <= 0 {
			continue
		}
		chances := make([]float64, len(e.Arms))
		for i, name := range e.Arms {
			chances[i] = float64(e.Weights[i]) / weight
			if _, known := out.subjects[name]; !known {
				order = append(order, name)
			}
			out.subjects[name] += e.Subjects[i]
			expected[name] += subjects * chances[i]
			total += e.Subjects[i]
		}
		logE += sequential.SampleRatio(e.Subjects, chances)
	}
	out.pValue = math.Min(1, math.Exp(-logE))
	if out.mismatch = out.pValue <= mismatchLevel; !out.mismatch {
		return out
	}
	parts := make([]string, 0, len(order))
	for _, name := range order {
		parts = append(parts, fmt.Sprintf("%s has %d and should have about %.0f", name, out.subjects[name], expected[name]))
	}
	out.words = fmt.Sprintf("of %d subjects %s: that comes by chance once in %s times, so something else decides who falls where",
		total, strings.Join(parts, ", "), odds(out.pValue))
	return out
}

func odds(p float64) string {
	if p < 1e-9 {
		return "a thousand million"
	}
	return fmt.Sprintf("%.0f", 1/p)
}
