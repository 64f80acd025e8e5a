//go:build real

package elastic_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
)

// library makes documents of few words and all kinds of metadata.
func library(t *testing.T, rng *rand.Rand) []index.Document {
	t.Helper()
	vocabulary := strings.Fields("boundary layers nations national flowing généraux heated wings shock cylinder buckling panels")
	long := strings.Repeat("é", 700)
	values := []any{
		"x", "y", "", long, strings.Repeat("z", 300), 1.0, 2.0, -3.5, 0.0, true, false, nil,
		[]any{"x", 1.0},
		[]any{},
		map[string]any{"p": "x"},
		map[string]any{"q": []any{"y", long}},
	}
	docs := make([]index.Document, 120)
	for i := range docs {
		var text []string
		for range 1 + rng.IntN(30) {
			text = append(text, vocabulary[rng.IntN(len(vocabulary))])
		}
		v := make([]float32, 8)
		for j := range v {
			v[j] = float32(rng.NormFloat64())
		}
		fields, err := filter.Fields(map[string]any{"a": values[rng.IntN(len(values))], "b": values[rng.IntN(len(values))]})
		if err != nil {
			t.Fatal(err)
		}
		s := strings.Join(text, " ")
		docs[i] = index.Document{
			No: int64(i + 1), ID: fmt.Sprintf("d%03d", i), Principals: []string{"all"}, Fields: fields,
			Chunks: []index.Chunk{{Text: s, Terms: len(analysis.Analyze(s)), Vector: v}},
		}
	}
	return docs
}

func filters(rng *rand.Rand) []filter.Node {
	wants := []filter.Value{
		filter.StringValue("x"), filter.StringValue("p"), filter.StringValue(strings.Repeat("é", 700)),
		filter.NumberValue(1), filter.NumberValue(-3.5), filter.NumberValue(0), filter.BoolValue(true),
	}
	ops := []filter.Op{
		filter.Equal, filter.NotEqual, filter.Less, filter.LessEqual, filter.Greater, filter.GreaterEqual, filter.Has,
	}
	paths := []string{"a", "b", "a.p", "b.q"}
	var random func(depth int) filter.Node
	random = func(depth int) filter.Node {
		switch k := rng.IntN(5); {
		case depth > 3 || k < 2:
			return &filter.Compare{
				Path: paths[rng.IntN(len(paths))], Op: ops[rng.IntN(len(ops))], Value: wants[rng.IntN(len(wants))],
			}
		case k == 2:
			return &filter.And{Nodes: []filter.Node{random(depth + 1), random(depth + 1)}}
		case k == 3:
			return &filter.Or{Nodes: []filter.Node{random(depth + 1), random(depth + 1)}}
		default:
			return &filter.Not{Node: random(depth + 1)}
		}
	}
	out := []filter.Node{nil, &filter.Compare{Path: "a", Op: filter.Has, Any: true}}
	for range 150 {
		out = append(out, random(0))
	}
	return out
}

// Both backends find the same, by scores that agree, whatever the filter.
func TestRealElasticsearchRanksLikeTheEmbeddedIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	docs := library(t, rng)
	own, err := embedded.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	theirs := openAt(t, testkit.Elasticsearch(t).URL, t.TempDir(), 0)
	var collections [2]index.Collection
	for i, x := range []index.Index{own, theirs} {
		t.Cleanup(func() {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
		if collections[i], err = x.Open(t.Context(), "alike"); err != nil {
			t.Fatal(err)
		}
		each := func(yield func(index.Document, error) bool) {
			for _, d := range docs {
				if !yield(d, nil) {
					return
				}
			}
		}
		if err := collections[i].Replace(t.Context(), 1, each); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range filters(rng) {
		q := index.Query{
			Terms: analysis.Query("the nations flowing généraux wings wings"), Vector: docs[i%len(docs)].Chunks[0].Vector,
			Principals: []string{"all"}, Filter: f, Limit: len(docs),
		}
		var legs [2]index.Legs
		for j, c := range collections {
			if legs[j], err = c.Search(t.Context(), q); err != nil {
				t.Fatalf("filter %d: %v", i, err)
			}
		}
		compare(t, fmt.Sprintf("filter %d, words", i), legs[0].Lexical, legs[1].Lexical, 0.05)
		compare(t, fmt.Sprintf("filter %d, vectors", i), legs[0].Vector, legs[1].Vector, 1e-5)
	}
}

// compare wants the same hits, with scores that differ by no more than a share.
func compare(t *testing.T, what string, want, got []index.Hit, share float64) {
	t.Helper()
	byID := func(hits []index.Hit) []index.Hit {
		out := slices.Clone(hits)
		slices.SortFunc(out, func(a, b index.Hit) int { return strings.Compare(a.ChunkID, b.ChunkID) })
		return out
	}
	w, g := byID(want), byID(got)
	if len(w) != len(g) {
		t.Errorf("%s: %d hits, want %d", what, len(g), len(w))
		return
	}
	for i := range w {
		if w[i].ChunkID != g[i].ChunkID || w[i].No != g[i].No || math.Abs(w[i].Score-g[i].Score) > share*max(0.1, math.Abs(w[i].Score)) {
			t.Errorf("%s: hit %+v, want %+v", what, g[i], w[i])
			return
		}
	}
}
