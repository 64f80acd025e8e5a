package embedded

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/texttest"
)

const (
	benchDocuments  = 100_000
	benchDimensions = 384
	benchWords      = 100
)

// bench makes documents whose words are as unevenly frequent as those of a
// language, and whose vectors lie as those of a model do.
type bench struct {
	rng   *rand.Rand
	model *vectortest.Model
	texts *texttest.Writer
}

func newBench() *bench {
	rng := rand.New(rand.NewPCG(1, 2))
	return &bench{rng: rng, model: vectortest.New(rng, benchDimensions), texts: texttest.New(rng)}
}

// document may be read by half, tenth, hundredth and thousandth, groups that
// see about as many, and its metadata say the same.
func (b *bench) document(no int64) index.Document {
	n := b.rng.Float64()
	d := index.Document{
		No: no, ID: fmt.Sprintf("d%06d", no), Principals: []string{"tenant:acme"},
		Fields: []filter.Field{{Path: "n", Shape: filter.Scalar, Values: []filter.Value{filter.NumberValue(float64(int(n * 1000)))}}},
	}
	for group, part := range map[string]float64{"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001} {
		if n < part {
			d.Principals = append(d.Principals, "group:"+group)
		}
	}
	text := b.texts.Passage(benchWords)
	d.Chunks = []index.Chunk{{Text: text, Terms: len(strings.Fields(text)), Vector: b.model.Next()}}
	return d
}

// collection returns a collection of so many chunks.
func (b *bench) collection(tb testing.TB, documents int) index.Collection {
	tb.Helper()
	x, err := New(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = x.Close() })
	c, err := x.Open(tb.Context(), "bench")
	if err != nil {
		tb.Fatal(err)
	}
	var docs iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for no := range int64(documents) {
			if !yield(b.document(no+1), nil) {
				return
			}
		}
	}
	began := time.Now()
	if err := c.Replace(tb.Context(), int64(documents), docs); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("%d chunks in %v", documents, time.Since(began).Round(time.Millisecond))
	return c
}

// cpuTime is what the process has used of the processors, which other work on
// the machine changes less than the time on the clock.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkSearch reports the median latency of each kind of search over a
// hundred thousand chunks, or POTERNE_BENCH_CHUNKS.
func BenchmarkSearch(b *testing.B) {
	documents := benchDocuments
	if n, err := strconv.Atoi(os.Getenv("POTERNE_BENCH_CHUNKS")); err == nil {
		documents = n
	}
	data := newBench()
	c := data.collection(b, documents)
	runtime.GC()
	all := []string{"tenant:acme"}
	for _, tc := range []struct {
		name           string
		words, vectors bool
		principals     []string
		filter         string
	}{
		{"lexical", true, false, all, ""},
		{"lexical long", true, false, all, ""},
		{"lexical half", true, false, []string{"group:half"}, ""},
		{"lexical tenth", true, false, []string{"group:tenth"}, ""},
		{"lexical hundredth", true, false, []string{"group:hundredth"}, ""},
		{"lexical thousandth", true, false, []string{"group:thousandth"}, ""},
		{"vector", false, true, all, ""},
		{"hybrid", true, true, all, ""},
		{"hybrid half", true, true, []string{"group:half"}, ""},
		{"hybrid tenth", true, true, []string{"group:tenth"}, ""},
		{"hybrid hundredth", true, true, []string{"group:hundredth"}, ""},
		{"hybrid thousandth", true, true, []string{"group:thousandth"}, ""},
		{"hybrid filtered to a tenth", true, true, all, "n < 100"},
	} {
		b.Run(tc.name, func(b *testing.B) {
			f, err := filter.Parse(tc.filter)
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			var used time.Duration
			for b.Loop() {
				q := index.Query{Principals: tc.principals, Filter: f, Limit: 100}
				switch {
				case tc.name == "lexical long":
					q.Terms = analysis.Query(data.texts.Passage(60))
				case tc.words:
					q.Terms = analysis.Query(data.texts.Question())
				}
				if tc.vectors {
					q.Vector = data.model.Next()
				}
				start, cpu := time.Now(), cpuTime(b)
				if _, err := c.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				used += cpuTime(b) - cpu
			}
			slices.Sort(took)
			b.ReportMetric(float64(used.Microseconds())/1000/float64(len(took)), "cpu_ms/op")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50_ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99_ms")
		})
	}
}
