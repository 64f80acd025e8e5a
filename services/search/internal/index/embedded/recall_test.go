package embedded

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/vectortest"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/vector"
)

const (
	recallDocuments = 3000
	recallWidth     = 64
)

// numbered makes a document of three chunks: every one may be read by all,
// every tenth by tens, every hundredth by hundreds, every thousandth by
// thousands; its number is its metadata.
func numbered(model *vectortest.Model, no int64) index.Document {
	d := index.Document{
		No: no, ID: fmt.Sprintf("d%06d", no), Principals: []string{"all"},
		Fields: []filter.Field{{Path: "no", Shape: filter.Scalar, Values: []filter.Value{filter.NumberValue(float64(no))}}},
	}
	for every, p := range map[int64]string{10: "tens", 100: "hundreds", 1000: "thousands"} {
		if no%every == 0 {
			d.Principals = append(d.Principals, p)
		}
	}
	for i := range 3 {
		d.Chunks = append(d.Chunks, index.Chunk{Number: i, Text: "w", Terms: 1, Vector: vector.Normalized(model.Next())})
	}
	return d
}

// nearestOf is what a search must find: the chunk ids of the documents that
// pass, nearest first.
func nearestOf(docs map[int64]index.Document, query []float32, limit int, pass func(d index.Document) bool) []string {
	type hit struct {
		id    string
		score float32
	}
	var hits []hit
	query = vector.Normalized(query)
	for _, d := range docs {
		if !pass(d) {
			continue
		}
		for _, c := range d.Chunks {
			hits = append(hits, hit{fmt.Sprintf("%s#%d", d.ID, c.Number), vector.Dot(query, c.Vector)})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	ids := make([]string, 0, limit)
	for _, h := range hits[:min(limit, len(hits))] {
		ids = append(ids, h.id)
	}
	return ids
}

// alike reports whether two lists of passages are the same, but for the order of
// those whose products differ by rounding alone: what is kept has length 1 once
// more.
func alike(docs map[int64]index.Document, query []float32, got, want []string) bool {
	products := make(map[string]float32)
	for _, d := range docs {
		for _, c := range d.Chunks {
			products[fmt.Sprintf("%s#%d", d.ID, c.Number)] = vector.Dot(vector.Normalized(query), c.Vector)
		}
	}
	return slices.EqualFunc(got, want, func(a, b string) bool {
		x, ok := products[a]
		return ok && math.Abs(float64(x-products[b])) < 1e-6
	}) && len(slices.Compact(slices.Sorted(slices.Values(got)))) == len(want)
}

// A collection that is large enough for sketches finds what an exact scan
// finds, under access lists and filters of any width, while it is loaded,
// changed, and changed so much that it is compacted.
func TestRecallUnderAccessListsAndFilters(t *testing.T) {
	x, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	c, err := x.Open(t.Context(), "recall")
	if err != nil {
		t.Fatal(err)
	}
	model := vectortest.New(rand.New(rand.NewPCG(1, 1)), recallWidth)
	docs := make(map[int64]index.Document)
	var loaded iter.Seq2[index.Document, error] = func(yield func(index.Document, error) bool) {
		for no := range int64(recallDocuments) {
			d := numbered(model, no+1)
			docs[d.No] = d
			if !yield(d, nil) {
				return
			}
		}
	}
	if err := c.Replace(t.Context(), 1, loaded); err != nil {
		t.Fatal(err)
	}
	checkRecall(t, c, model, docs)

	change := index.Changes{Through: 2}
	for no := range int64(recallDocuments) {
		if no%4 != 0 {
			change.Remove = append(change.Remove, no+1)
			delete(docs, no+1)
		}
		if no%2 == 0 {
			d := numbered(model, recallDocuments+no+1)
			docs[d.No] = d
			change.Put = append(change.Put, d)
		}
	}
	if err := c.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	checkRecall(t, c, model, docs)

	change = index.Changes{Through: 3}
	for no := range docs {
		if no <= recallDocuments {
			change.Remove = append(change.Remove, no)
			delete(docs, no)
		}
	}
	if err := c.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	checkRecall(t, c, model, docs)
}

func checkRecall(t *testing.T, c index.Collection, model *vectortest.Model, docs map[int64]index.Document) {
	t.Helper()
	const queries, limit = 10, 10
	half, err := filter.Parse(fmt.Sprintf("no > %d", recallDocuments/2))
	if err != nil {
		t.Fatal(err)
	}
	asked := make([][]float32, queries)
	for i := range asked {
		asked[i] = model.Next()
	}
	var wg sync.WaitGroup
	for _, p := range []string{"all", "tens", "hundreds", "thousands"} {
		for _, f := range []filter.Node{nil, half} {
			wg.Go(func() {
				pass := func(d index.Document) bool {
					return slices.Contains(d.Principals, p) && (f == nil || d.No > recallDocuments/2)
				}
				found, total := 0, 0
				for _, query := range asked {
					legs, err := c.Search(t.Context(), index.Query{Vector: query, Principals: []string{p}, Filter: f, Limit: limit})
					if err != nil {
						t.Error(err)
						return
					}
					want := nearestOf(docs, query, limit, pass)
					if len(legs.Vector) != len(want) {
						t.Errorf("%s, filter %v: %d hits, want %d", p, f != nil, len(legs.Vector), len(want))
					}
					for _, h := range legs.Vector {
						if !pass(docs[h.No]) {
							t.Errorf("%s, filter %v: %s is found", p, f != nil, h.ChunkID)
						}
						if slices.Contains(want, h.ChunkID) {
							found++
						}
					}
					total += len(want)
				}
				if float64(found) < 0.99*float64(total) {
					t.Errorf("%s, filter %v: %d found of %d", p, f != nil, found, total)
				}
			})
		}
	}
	wg.Wait()
}
