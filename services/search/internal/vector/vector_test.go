package vector

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/topk"
)

func name(row uint32) string { return fmt.Sprintf("%08d", row) }

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func TestNearestIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, width := range []int{1, 7, 8, 33, 384} {
		m := newMatrix(width)
		rows := make([][]float32, 3000)
		for i := range rows {
			rows[i] = vectortest.Noise(rng, width)
			m.Append(rows[i])
		}
		query := vectortest.Noise(rng, width)
		got := m.Nearest(Normalized(query), []Range{{0, 1000}, {1500, 1500}}, 20, name)
		want := make([]topk.Item, 0, len(rows))
		for i, r := range rows {
			if i < 1000 || i >= 1500 {
				want = append(want, topk.Item{Key: uint32(i), Score: cosine(query, r)})
			}
		}
		slices.SortFunc(want, func(a, b topk.Item) int { return cmp.Compare(b.Score, a.Score) })
		for i, it := range got {
			if math.Abs(it.Score-want[i].Score) > 1e-5 {
				t.Fatalf("width %d: hit %d is %+v, want %+v", width, i, it, want[i])
			}
		}
		if len(got) != 20 {
			t.Fatalf("width %d: %d hits", width, len(got))
		}
	}
}

func TestManyProcessorsFindWhatOneFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	m := newMatrix(16)
	for range 3 * parallelRows {
		m.Append(vectortest.Noise(rng, 16))
	}
	query := Normalized(vectortest.Noise(rng, 16))
	all := []Range{{5, 100}, {200, uint32(m.Rows()) - 200}}
	one := topk.New(50, topk.ByID(name))
	m.scan(m.question(query), all, one)
	if got := m.Nearest(query, all, 50, name); !slices.Equal(got, one.Best()) {
		t.Errorf("got %v, want %v", got, one.Best())
	}
	for _, parts := range []int{2, 3, 7} {
		var rows []uint32
		for _, part := range split(all, 100+m.Rows()-200, parts) {
			for _, r := range part {
				for i := range r.Count {
					rows = append(rows, r.First+i)
				}
			}
		}
		if len(rows) != 100+m.Rows()-200 || !slices.IsSorted(rows) {
			t.Errorf("%d parts: %d rows", parts, len(rows))
		}
	}
}

func TestVectorsWithoutDirectionScoreZero(t *testing.T) {
	m := newMatrix(3)
	m.Append([]float32{0, 0, 0})
	m.Append([]float32{float32(math.NaN()), 1, 1})
	m.Append([]float32{float32(math.Inf(1)), 1, 1})
	for _, it := range m.Nearest(Normalized([]float32{1, 2, 3}), []Range{{0, 3}}, 3, name) {
		if it.Score != 0 {
			t.Errorf("row %d scores %v", it.Key, it.Score)
		}
	}
}

// newMatrix returns a matrix without rows whose rows are scaled to length 1 and
// compared by cosine.
func newMatrix(width int) *Matrix {
	return New(Layout{Width: width, Metric: Cosine, Encoding: Float32})
}
