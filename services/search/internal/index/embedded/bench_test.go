package embedded

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

const (
	benchDocuments  = 100_000
	benchDimensions = 384
)

// benchDocument makes documents whose words are as unevenly frequent as those
// of a language (Zipf), and whose vectors lie as those of a model do.
func benchDocument(model *vectortest.Model, zipf *rand.Zipf, no int64) index.Document {
	words := make([]string, 120)
	for i := range words {
		words[i] = fmt.Sprint("w", zipf.Uint64())
	}
	principals := []string{"tenant:acme"}
	if no%2 == 0 {
		principals = []string{"group:half"}
	}
	return index.Document{
		No: no, ID: fmt.Sprintf("d%06d", no), Principals: principals,
		Fields: []filter.Field{{Path: "year", Shape: filter.Scalar, Values: []filter.Value{filter.NumberValue(float64(no % 50))}}},
		Chunks: []index.Chunk{{Text: strings.Join(words, " "), Terms: len(words), Vector: model.Next()}},
	}
}

// BenchmarkSearch reports the median latency of each kind of search over a
// hundred thousand chunks.
func BenchmarkSearch(b *testing.B) {
	x, err := New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	c, err := x.Open(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	model := vectortest.New(rng, benchDimensions)
	zipf := rand.NewZipf(rng, 1.1, 4, 200_000)
	var docs iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for no := range int64(benchDocuments) {
			if !yield(benchDocument(model, zipf, no+1), nil) {
				return
			}
		}
	}
	began := time.Now()
	if err := c.Replace(b.Context(), benchDocuments, docs); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d chunks in %v", benchDocuments, time.Since(began).Round(time.Millisecond))
	all, half := []string{"tenant:acme", "group:half"}, []string{"group:half"}
	year, err := filter.Parse("year >= 40")
	if err != nil {
		b.Fatal(err)
	}
	for _, tc := range []struct {
		name           string
		words, vectors bool
		principals     []string
		filter         filter.Node
	}{
		{"lexical", true, false, all, nil},
		{"vector", false, true, all, nil},
		{"vector half readable", false, true, half, nil},
		{"hybrid", true, true, all, nil},
		{"hybrid half readable", true, true, half, nil},
		{"hybrid filtered", true, true, all, year},
	} {
		b.Run(tc.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				d := benchDocument(model, zipf, 1)
				q := index.Query{Principals: tc.principals, Filter: tc.filter, Limit: 100}
				if tc.words {
					q.Terms = analysis.Query(strings.Join(strings.Fields(d.Chunks[0].Text)[:5], " "))
				}
				if tc.vectors {
					q.Vector = d.Chunks[0].Vector
				}
				start := time.Now()
				if _, err := c.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50_ms")
		})
	}
}
