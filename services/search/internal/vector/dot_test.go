package vector

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
)

func exactDot(a, b []float32) (sum, size float64) {
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		sum, size = sum+p, size+math.Abs(p)
	}
	return sum, size
}

// The same two vectors have the same product wherever they lie: rows move.
func TestDotDoesNotDependOnThePlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 31))
	for _, width := range []int{1, 3, 27, 64, 66, 100, 384, 1024} {
		m := newMatrix(width)
		v := vectortest.Noise(rng, width)
		for range 37 {
			m.Append(v)
		}
		query := Normalized(vectortest.Noise(rng, width))
		want, size := exactDot(query, m.Row(0))
		for i := range m.Rows() {
			got := Dot(query, m.Row(i))
			if got != Dot(query, m.Row(0)) || math.Abs(float64(got)-want) > 1e-5*size+1e-9 {
				t.Fatalf("width %d: row %d has %v, the first %v, exactly %v", width, i, got, Dot(query, m.Row(0)), want)
			}
		}
	}
}

// Whole numbers lose next to nothing against the row's own bytes, at widths that
// end anywhere in a word or a run, and nothing overflows.
func TestIntegersAreTheBytesProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 32))
	for _, width := range []int{1, 4, 7, 8, 9, 16, 33, 384, 511, 512, 513, 530, 1024, 1100, MaxWidth} {
		l := Layout{Width: width, Metric: DotProduct, Encoding: Int8}
		flat := func(x float32) []float32 {
			v := make([]float32, width)
			for i := range v {
				v[i] = x
			}
			return v
		}
		rows := [][]float32{flat(1), flat(-1), vectortest.Noise(rng, width), vectortest.Noise(rng, width)}
		m := New(l)
		for _, v := range rows {
			m.Append(v)
		}
		for _, query := range append(rows, flat(0), flat(1e30), flat(-1e-30)) {
			q := m.question(query)
			for i := range rows {
				want, size := exactDot(query, m.Row(i))
				if got := m.score(q, i); math.Abs(got-want) > size*1e-4 {
					t.Fatalf("width %d: %v, want %v", width, got, want)
				}
			}
		}
	}
}

// What is no number is no nearer to one row than to another.
func TestIntegersOfNoNumber(t *testing.T) {
	m := New(Layout{Width: 2, Metric: DotProduct, Encoding: Int8})
	m.Append([]float32{1, -1})
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := m.score(m.question([]float32{float32(x), 1}), 0); got != 0 {
			t.Errorf("%v scores %v", x, got)
		}
	}
}

// A survey yields the rows of its ranges that are in the asked distance, in
// order, and no other.
func TestSurveysYieldWhatIsWithin(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 33))
	for range 50 {
		s := &survey{}
		var rows []uint32
		at := uint32(0)
		for range rng.IntN(40) {
			at += rng.Uint32N(3)
			r := Range{First: at, Count: rng.Uint32N(9)}
			s.ranges, at = append(s.ranges, r), at+r.Count
			for i := range r.Count {
				rows = append(rows, r.First+i)
			}
		}
		s.room(len(rows))
		for i := range s.distances {
			s.distances[i] = uint16(rng.IntN(6)) * (MaxWidth / 5)
		}
		for from := 0; from <= MaxWidth; from += MaxWidth / 5 {
			for to := from; to <= MaxWidth; to += MaxWidth / 5 {
				var got []uint32
				s.within(from, to, func(rows []uint32) { got = append(got, rows...) })
				n := 0
				for i, d := range s.distances {
					if int(d) < from || int(d) > to {
						continue
					}
					if n >= len(got) || got[n] != rows[i] {
						t.Fatalf("%d to %d: row %d is not yielded: %v", from, to, rows[i], got)
					}
					n++
				}
				if n != len(got) {
					t.Fatalf("%d to %d: %d rows yielded, want %d", from, to, len(got), n)
				}
			}
		}
	}
}
