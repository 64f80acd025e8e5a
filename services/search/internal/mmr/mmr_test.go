package mmr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/services/search/internal/vector"
)

func indexes(choices []Choice) (out []int) {
	for _, c := range choices {
		out = append(out, c.Index)
	}
	return out
}

func TestOrder(t *testing.T) {
	east, north := []float32{2, 0}, []float32{0, 5}
	tests := map[string]struct {
		scores    []float64
		vectors   [][]float32
		diversity float64
		want      []int
	}{
		"nothing":               {nil, nil, 0.5, nil},
		"no diversity":          {[]float64{3, 2, 1}, [][]float32{east, east, north}, 0, []int{0, 1, 2}},
		"some":                  {[]float64{3, 2.9, 2}, [][]float32{east, east, north}, 0.5, []int{0, 2, 1}},
		"relevance weighs more": {[]float64{3, 2.9, 0}, [][]float32{east, east, north}, 0.3, []int{0, 1, 2}},
		"novelty alone":         {[]float64{3, 2, 1}, [][]float32{east, east, north}, 1, []int{0, 2, 1}},
		"all alike":             {[]float64{1, 1, 1}, [][]float32{east, east, east}, 0.7, []int{0, 1, 2}},
		"without vectors":       {[]float64{3, 2, 1}, nil, 0.7, []int{0, 1, 2}},
		"one without direction": {[]float64{3, 2, 1}, [][]float32{east, east, {0, 0}}, 1, []int{0, 2, 1}},
	}
	for name, tt := range tests {
		vectors := tt.vectors
		if vectors == nil {
			vectors = make([][]float32, len(tt.scores))
		}
		if got := indexes(Order(tt.scores, vectors, tt.diversity)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// TestEveryChoiceIsTheBest checks the definition at each step.
func TestEveryChoiceIsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 50 {
		n := 2 + r.IntN(20)
		scores, vectors := make([]float64, n), make([][]float32, n)
		for i := range n {
			scores[i] = r.NormFloat64()
			vectors[i] = []float32{float32(r.NormFloat64()), float32(r.NormFloat64()), float32(r.NormFloat64())}
		}
		slices.SortFunc(scores, func(a, b float64) int { return int(math.Copysign(1, b-a)) })
		d := r.Float64()
		got := Order(scores, vectors, d)
		if fmt.Sprint(got) != fmt.Sprint(Order(scores, vectors, d)) {
			t.Fatal("another order the second time")
		}
		relevance := func(i int) float64 { return (scores[i] - scores[n-1]) / (scores[0] - scores[n-1]) }
		left := make(map[int]bool)
		for i := range n {
			left[i] = true
		}
		for step, c := range got {
			best := math.Inf(-1)
			for i := range left {
				most := 0.0
				for k, before := range got[:step] {
					s := cosine(vector.Normalized(vectors[i]), vector.Normalized(vectors[before.Index]))
					if k == 0 || s > most {
						most = s
					}
				}
				best = max(best, (1-d)*relevance(i)-d*most)
			}
			if math.Abs(c.Score-best) > 1e-9 || !left[c.Index] {
				t.Fatalf("round %d, step %d: %+v, the best has %v", round, step, c, best)
			}
			delete(left, c.Index)
		}
		if len(left) > 0 {
			t.Fatalf("%v are missing", left)
		}
	}
}

// A reranking model may give any finite scores; their difference need not be one.
func TestScoresFarApartHaveARelevance(t *testing.T) {
	vectors := [][]float32{{1, 0}, {1, 0}, {0, 1}}
	for _, c := range Order([]float64{math.MaxFloat64, 0, -math.MaxFloat64}, vectors, 0.25) {
		if want := 1 - float64(c.Index)/2; c.Relevance != want || math.IsNaN(c.Score) {
			t.Errorf("got %+v, want the relevance %v", c, want)
		}
	}
}
