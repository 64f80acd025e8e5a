package vector

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
)

func TestSketchesAreOneBitADimension(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, width := range []int{64, 70, 200} {
		m := newMatrix(width)
		for range sketchRows + blockRows/2 {
			m.Append(vectortest.Noise(rng, width))
		}
		if !m.sketches.made() {
			t.Fatalf("width %d: no sketches of %d rows", width, m.Rows())
		}
		for i := range m.Rows() {
			bits := m.sketches.at(uint32(i), 1)
			for d, x := range m.Row(i) {
				if got, want := bits[d/64]>>(d%64)&1 == 1, x > m.sketches.mean[d]; got != want {
					t.Fatalf("width %d: bit %d of row %d is %v", width, d, i, got)
				}
			}
		}
	}
	m := newMatrix(384)
	for range sketchRows {
		m.Append(vectortest.Noise(rng, 384))
	}
	if got := len(m.sketches.at(0, 1)) * 8; got != 48 {
		t.Errorf("a sketch of 384 dimensions takes %d bytes", got)
	}
}

func TestFewOrNarrowRowsAreNotSketched(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, tc := range []struct{ width, rows int }{{384, sketchRows - 1}, {sketchWidth - 1, 2 * sketchRows}} {
		m := newMatrix(tc.width)
		for range tc.rows {
			m.Append(vectortest.Noise(rng, tc.width))
		}
		if m.sketches.made() {
			t.Errorf("%d rows of width %d are sketched", tc.rows, tc.width)
		}
	}
}

// Rows that come topic by topic move the mean; sketches follow it, seldom.
func TestSketchesFollowTheMean(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	model := vectortest.New(rng, 64)
	m := newMatrix(64)
	made, last := 0, []float32(nil)
	for i := range 5 * sketchRows {
		m.Append(model.About(i / sketchRows))
		if mean := m.sketches.mean; !slices.Equal(mean, last) {
			made, last = made+1, mean
		}
	}
	if made < 2 || made > 30 {
		t.Errorf("sketches were made %d times", made)
	}
	if m.sketches.drifted(m.Rows()) {
		t.Error("the mean is far from that of the rows")
	}
	fresh := m.sketches.of(m.Row(0))
	if !slices.Equal(m.sketches.at(0, 1), fresh) {
		t.Error("the first row's sketch was taken from another mean")
	}
}
