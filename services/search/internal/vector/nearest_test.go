package vector

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/topk"
)

func filled(n int, width int, next func() []float32) *Matrix {
	m := newMatrix(width)
	for range n {
		m.Append(next())
	}
	return m
}

func count(ranges []Range) int {
	total := 0
	for _, r := range ranges {
		total += int(r.Count)
	}
	return total
}

// kept returns ranges of about share of all rows, in runs of up to run.
func kept(rng *rand.Rand, rows int, share float64, run int) []Range {
	var out []Range
	for at := 0; at < rows; {
		n := min(1+rng.IntN(run), rows-at)
		if rng.Float64() < share {
			out = append(out, Range{uint32(at), uint32(n)})
		}
		at += n
	}
	return out
}

func recall(got, want []topk.Item) float64 {
	if len(want) == 0 {
		return 1
	}
	have := make(map[uint32]bool)
	for _, it := range got {
		have[it.Key] = true
	}
	hits := 0
	for _, it := range want {
		if have[it.Key] {
			hits++
		}
	}
	return float64(hits) / float64(len(want))
}

func TestRecall(t *testing.T) {
	const rows, width, queries = 3 * sketchRows, 192, 12
	for _, tc := range []struct {
		name string
		next func(rng *rand.Rand) func() []float32
	}{
		{"like embeddings", func(rng *rand.Rand) func() []float32 { return vectortest.New(rng, width).Next }},
		{"noise", func(rng *rand.Rand) func() []float32 {
			return func() []float32 { return vectortest.Noise(rng, width) }
		}},
		{"tight clusters", func(rng *rand.Rand) func() []float32 {
			centers := filled(40, width, func() []float32 { return vectortest.Noise(rng, width) })
			return func() []float32 {
				v := vectortest.Noise(rng, width)
				for i, x := range centers.Row(rng.IntN(centers.Rows())) {
					v[i] = 0.2*v[i] + 20*x
				}
				return v
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 7))
			next := tc.next(rng)
			m := filled(rows, width, next)
			asked := make([][]float32, queries)
			for i := range asked {
				asked[i] = Normalized(next())
			}
			for _, share := range []float64{1, 0.6, 0.1, 0.01, 0.001} {
				for _, limit := range []int{10, 100} {
					sum, forced := 0.0, 0.0
					for _, query := range asked {
						ranges := kept(rng, rows, share, 5)
						want := m.exact(query, ranges, count(ranges), limit, name)
						got := m.Nearest(query, ranges, limit, name)
						if len(got) != len(want) {
							t.Fatalf("share %v: %d hits, want %d", share, len(got), len(want))
						}
						sum += recall(got, want)
						forced += recall(m.sketched(query, ranges, count(ranges), limit, name), want)
					}
					if min(sum, forced) < 0.99*queries {
						t.Errorf("share %v, limit %d: recall %.4f, by sketches alone %.4f", share, limit, sum/queries, forced/queries)
					}
				}
			}
		})
	}
}

// Nothing outside of the ranges is found, however near it is.
func TestSketchesKeepToTheRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	m := filled(3*sketchRows, 64, vectortest.New(rng, 64).Next)
	for range 20 {
		ranges := kept(rng, m.Rows(), 0.8, 1500)
		query := m.Row(rng.IntN(m.Rows()))
		if !m.sketchable(query, count(ranges), 10) {
			t.Fatal("not searched by sketches")
		}
		for _, it := range m.Nearest(query, ranges, 10, name) {
			if !slices.ContainsFunc(ranges, func(r Range) bool { return it.Key >= r.First && it.Key < r.First+r.Count }) {
				t.Errorf("row %d is not in %v", it.Key, ranges)
			}
		}
	}
}

// Equal scores are ordered by id, whether compared by sketches or not: rows
// that are the same have one sketch and are compared together.
func TestTiesAreThoseOfTheExactScan(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	model := vectortest.New(rng, 64)
	same := model.Next()
	m := filled(3*sketchRows, 64, func() []float32 {
		if rng.IntN(4) == 0 {
			return same
		}
		return model.Next()
	})
	all := []Range{{0, uint32(m.Rows())}}
	backwards := func(row uint32) string { return name(uint32(m.Rows()) - row) }
	for _, query := range [][]float32{Normalized(same), make([]float32, 64)} {
		for _, id := range []func(uint32) string{name, backwards} {
			want := m.exact(query, all, m.Rows(), 50, id)
			if got := m.Nearest(query, all, 50, id); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
}

func TestLimitsOfSketches(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	m := filled(2*sketchRows, 64, vectortest.New(rng, 64).Next)
	all := []Range{{0, uint32(m.Rows())}}
	query := m.Row(17)
	for _, tc := range []struct{ limit, want int }{{-1, 0}, {0, 0}, {1, 1}, {m.Rows(), m.Rows()}, {2 * m.Rows(), m.Rows()}} {
		if got := m.Nearest(query, all, tc.limit, name); len(got) != tc.want {
			t.Errorf("limit %d: %d hits", tc.limit, len(got))
		}
	}
	if got := m.Nearest(query, all, 1, name); got[0].Key != 17 {
		t.Errorf("nearest to row 17 is %+v", got[0])
	}
}

func TestSearchesSideBySide(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	m := filled(parallelSketches+1000, 64, func() []float32 { return vectortest.Noise(rng, 64) })
	all := []Range{{0, uint32(m.Rows())}}
	var wg sync.WaitGroup
	for i := range 4 {
		query := m.Row(i * 1000)
		want := m.sketched(query, all, m.Rows(), 10, name)
		wg.Go(func() {
			for range 2 {
				if got := m.Nearest(query, all, 10, name); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestInnerLoopsAllocateNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	m := filled(2*sketchRows, 384, vectortest.New(rng, 384).Next)
	query := m.Row(1)
	bits := m.sketches.of(query)
	ranges := []Range{{3, 2000}, {2500, 5000}}
	s, c := m.survey(), topk.New(10, topk.ByID(name))
	s.measure(&m.sketches, bits, ranges)
	q := m.question(query)
	m.compare(q, s, 0, 384, c)
	best := c.Best()
	if n := testing.AllocsPerRun(10, func() {
		clear(s.counts)
		s.measure(&m.sketches, bits, ranges)
		m.settled(best, bits, s.counts, 1000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	none := func(uint32) string { return "" }
	full := topk.New(1, topk.ByID(none))
	full.Offer(topk.Item{Score: 2})
	if n := testing.AllocsPerRun(10, func() { m.compare(q, s, 0, 384, full) }); n != 0 {
		t.Errorf("%v allocations in comparing", n)
	}
}

// BenchmarkNearest measures searches by sketches against those that compare all
// rows, of vectors that lie as embeddings do.
func BenchmarkNearest(b *testing.B) {
	for _, rows := range []int{2000, 4096, 10_000, 100_000, 1_000_000} {
		rng := rand.New(rand.NewPCG(13, 13))
		model := vectortest.New(rng, 384)
		m := filled(rows, 384, model.Next)
		queries := make([][]float32, 64)
		for i := range queries {
			queries[i] = Normalized(model.Next())
		}
		all := []Range{{0, uint32(rows)}}
		for _, limit := range []int{10, 100} {
			for _, how := range []string{"exact", "nearest"} {
				b.Run(fmt.Sprintf("%d rows/%d hits/%s", rows, limit, how), func(b *testing.B) {
					b.ReportAllocs()
					var took []time.Duration
					for b.Loop() {
						query := queries[len(took)%len(queries)]
						start := time.Now()
						if how == "exact" {
							m.exact(query, all, rows, limit, name)
						} else {
							m.Nearest(query, all, limit, name)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50_ms")
				})
			}
		}
		runtime.KeepAlive(m)
	}
}
