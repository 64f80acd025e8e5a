package indextest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/poterne/poterne/services/search/internal/index"
)

// scoresAreTheMetrics has vectors of all lengths, which every metric orders
// otherwise, and compares with what each says.
func scoresAreTheMetrics(f *fixture) {
	t := f.t
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same vectors every time
	noise := func(length float64) []float32 {
		v := make([]float32, width)
		for i := range v {
			v[i] = float32(length * rng.NormFloat64())
		}
		return v
	}
	var docs []index.Document
	for no := range int64(60) {
		docs = append(docs, index.Document{
			No: no + 1, ID: fmt.Sprintf("d%02d", no), Principals: []string{"public"},
			Chunks: []index.Chunk{{Text: "w", Terms: 1, Vector: noise(math.Exp(2*rng.Float64() - 1))}},
		})
	}
	measure := map[index.Metric]func(dot, qq, vv float64) float64{
		"":           func(dot, qq, vv float64) float64 { return dot / math.Sqrt(qq*vv) },
		index.Cosine: func(dot, qq, vv float64) float64 { return dot / math.Sqrt(qq*vv) },
		index.Dot:    func(dot, _, _ float64) float64 { return dot },
		index.L2:     func(dot, qq, vv float64) float64 { return -(qq + vv - 2*dot) },
	}
	for metric, of := range measure {
		c, err := f.index.Open(t.Context(), "by-"+string(metric), index.WithMetric(metric))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Replace(t.Context(), 100, sequence(docs)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			query := noise(1)
			legs, err := c.Search(t.Context(), index.Query{Vector: query, Principals: []string{"public"}, Limit: 20})
			if err != nil {
				t.Fatal(err)
			}
			want := make([]index.Hit, len(docs))
			for i, d := range docs {
				want[i] = index.Hit{No: d.No, ChunkID: d.ID + "#0", Score: of(products(query, d.Chunks[0].Vector))}
			}
			slices.SortFunc(want, func(a, b index.Hit) int { return cmp.Compare(b.Score, a.Score) })
			if len(legs.Vector) != 20 {
				t.Fatalf("%q: %d hits", metric, len(legs.Vector))
			}
			for i, h := range legs.Vector {
				if w := want[i]; h.ChunkID != w.ChunkID || math.Abs(h.Score-w.Score) > 1e-5*(1+math.Abs(w.Score)) {
					t.Fatalf("%q: hit %d is %s of score %v, want %s of %v", metric, i, h.ChunkID, h.Score, w.ChunkID, w.Score)
				}
			}
		}
	}
}

// products returns the inner products of two vectors with each other and with
// themselves.
func products(q, v []float32) (dot, qq, vv float64) {
	for i := range q {
		a, b := float64(q[i]), float64(v[i])
		dot, qq, vv = dot+a*b, qq+a*a, vv+b*b
	}
	return dot, qq, vv
}
