package embedded

import (
	"iter"
	"testing"

	"github.com/poterne/poterne/services/search/internal/index"
)

// BenchmarkStart reports what it takes to load a chunk that the words have on
// disk already.
func BenchmarkStart(b *testing.B) {
	const documents = 20_000
	data := newBench()
	docs := make([]index.Document, documents)
	for i := range docs {
		docs[i] = data.document(int64(i + 1))
	}
	var all iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
	dir := b.TempDir()
	start := func() {
		x, err := New(dir)
		if err != nil {
			b.Fatal(err)
		}
		c, err := x.Open(b.Context(), "bench")
		if err == nil {
			err = c.Replace(b.Context(), documents, all)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer() // closing waits for what is written in the background
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	start()
	cpu := cpuTime(b)
	n := 0
	for b.Loop() {
		start()
		n++
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(n)/documents, "cpu_us/chunk")
}
