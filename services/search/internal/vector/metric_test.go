package vector

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// measured is the score of a metric, in double precision.
func measured(m Metric, q, v []float32) float64 {
	var qv, qq, vv float64
	for i := range q {
		a, b := float64(q[i]), float64(v[i])
		qv, qq, vv = qv+a*b, qq+a*a, vv+b*b
	}
	switch m {
	case DotProduct:
		return qv
	case L2:
		return -(qq + vv - 2*qv)
	case Cosine:
		fallthrough
	default:
		return qv / math.Sqrt(qq*vv)
	}
}

// Every metric and encoding finds what a scan of the vectors as they came finds:
// all but some that are almost alike where bytes are kept. Lengths are those of
// a model that scales its vectors, nearly so, and of one that does not; in the
// last, few rows are ten times as long as the others and lie elsewhere.
func TestRecallOfMetrics(t *testing.T) {
	const rows, width, queries, limit = sketchRows + 100, 64, 10, 10
	lengths := map[string]func(rng *rand.Rand, i int) float64{
		"one length":        func(*rand.Rand, int) float64 { return 3 },
		"nearly one length": func(rng *rand.Rand, _ int) float64 { return 3 + 0.04*rng.Float64() },
		"any length":        func(rng *rand.Rand, _ int) float64 { return math.Exp(rng.NormFloat64()) },
		"few long ones": func(_ *rand.Rand, i int) float64 {
			if i%500 == 0 {
				return 10
			}
			return 1
		},
	}
	for _, metric := range []Metric{Cosine, DotProduct, L2} {
		for _, encoding := range []Encoding{Float32, Int8} {
			for name2, length := range lengths {
				rng := rand.New(rand.NewPCG(21, 21))
				model := vectortest.New(rng, width)
				m := New(Layout{Width: width, Metric: metric, Encoding: encoding})
				all := make([][]float32, rows)
				for i := range all {
					all[i] = Normalized(model.Next())
					n := float32(length(rng, i))
					for d := range all[i] {
						all[i][d] *= n
					}
					m.Append(all[i])
				}
				found := 0
				for range queries {
					query := model.Next()
					asked := query
					if metric == Cosine {
						asked = Normalized(query)
					}
					got := m.Nearest(asked, []Range{{0, rows}}, limit, name)
					want := make([]topk.Item, rows)
					for i, v := range all {
						want[i] = topk.Item{Key: uint32(i), Score: measured(metric, query, v)}
					}
					slices.SortFunc(want, func(a, b topk.Item) int { return cmp.Compare(b.Score, a.Score) })
					found += int(math.Round(recall(got, want[:limit]) * limit))
				}
				least := 0.99
				if encoding == Int8 {
					least = 0.9
				}
				share := float64(found) / (queries * limit)
				t.Logf("%s, %s, %s: recall %.3f, by sketches: %v", metric, encoding, name2, share,
					m.sketchable(m.Row(0), rows, limit))
				if share < least {
					t.Errorf("%s, %s, %s: recall %.3f", metric, encoding, name2, share)
				}
			}
		}
	}
}

// What is no number does not come between the others.
func TestVectorsThatAreNotFiniteAreZeros(t *testing.T) {
	for _, metric := range []Metric{Cosine, DotProduct, L2} {
		m := New(Layout{Width: 2, Metric: metric, Encoding: Float32})
		m.Append([]float32{float32(math.NaN()), 1})
		m.Append([]float32{1, 1})
		m.Append([]float32{float32(math.Inf(1)), 1})
		got := m.Nearest([]float32{1, 1}, []Range{{0, 3}}, 3, name)
		if len(got) != 3 || got[0].Key != 1 || got[1].Score != got[2].Score {
			t.Errorf("%s: %v", metric, got)
		}
	}
}
