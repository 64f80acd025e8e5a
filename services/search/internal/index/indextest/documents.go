package indextest

import (
	"hash/fnv"
	"iter"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// width is the dimensions of the fake vectors.
const width = 64

// fakeVector is a bag of hashed words: texts that share words are near. It
// stands in for a model.
func fakeVector(text string) []float32 {
	v := make([]float32, width)
	for _, term := range analysis.Analyze(text) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(term))
		v[h.Sum32()%width]++
	}
	return v
}

// doc makes a document with one chunk per text.
type doc struct {
	no         int64
	id         string
	texts      []string
	principals []string
	metadata   map[string]any
	title      string
	// created and updated are seconds since 1970.
	created, updated int64
}

func (d doc) build(tb testing.TB) index.Document {
	tb.Helper()
	fields, err := filter.Fields(d.metadata)
	if err != nil {
		tb.Fatal(err)
	}
	principals := d.principals
	if principals == nil {
		principals = []string{"tenant:acme"}
	}
	out := index.Document{
		No: d.no, ID: d.id, Principals: principals, Fields: fields, Title: d.title,
		CreateTime: time.Unix(d.created, 0), UpdateTime: time.Unix(d.updated, 0),
	}
	for i, text := range d.texts {
		out.Chunks = append(out.Chunks, index.Chunk{
			Number: i, Text: text, Terms: len(analysis.Analyze(text)), Vector: fakeVector(text),
		})
	}
	return out
}

func build(tb testing.TB, docs ...doc) []index.Document {
	tb.Helper()
	out := make([]index.Document, len(docs))
	for i, d := range docs {
		out[i] = d.build(tb)
	}
	return out
}

func sequence(docs []index.Document) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// query asks for both legs on behalf of everybody in the tenant.
func query(text string, limit int) index.Query {
	return index.Query{
		Terms: analysis.Query(text), Vector: fakeVector(text),
		Principals: []string{"tenant:acme"}, Limit: limit,
	}
}

func mustParse(tb testing.TB, s string) filter.Node {
	tb.Helper()
	n, err := filter.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func chunkIDs(hits []index.Hit) []string {
	out := make([]string, len(hits))
	for i, h := range hits {
		out[i] = h.ChunkID
	}
	return out
}
