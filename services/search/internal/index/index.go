// Package index is the contract between search and the engines that find
// chunks. An index is derived: the store has the truth, an index follows it by
// the generation of each change, and can be made anew from it at any time. It
// finds candidates for the two legs of a search and nothing more, so that every
// engine ranks alike once they are fused. The behaviour that every
// implementation must show is in package indextest.
package index

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/order"
)

// Chunk is one passage of a document.
type Chunk struct {
	// Number is the chunk's place in the document, from 0 without gaps.
	Number int
	// Terms is how many terms the passage has: what BM25 calls its length.
	Terms int
	// Text is what is indexed by words: the document's title, twice, and the
	// passage.
	Text string
	// Vector has the collection's dimensions; its length does not matter.
	Vector []float32
}

// Document is one version of a document. A version never changes: an update is
// another version under another number, so nothing of an old version can be
// shown by the rights of a new one.
type Document struct {
	// No is the version's number, unique and growing in the collection.
	No int64
	// ID is the document's id.
	ID string
	// Principals are those who may read it. Empty: nobody.
	Principals []string
	// Fields are its metadata, for filters, facets and orders, by path.
	Fields []filter.Field
	// Title and the times are for orders.
	Title                  string
	CreateTime, UpdateTime time.Time
	Chunks                 []Chunk
	// Kept says that the collection has the chunks already, and that these are
	// only numbered here; see Keeper.
	Kept bool
}

// Changes leads from one generation of the truth to a later one.
type Changes struct {
	// Through is the generation that the collection has afterwards.
	Through int64
	// Put are new versions.
	Put []Document
	// Remove are the numbers of versions that are gone; unknown ones are ignored.
	Remove []int64
}

// Query asks for the candidates of a search.
type Query struct {
	// Terms are the words of the lexical leg; empty for no such leg.
	Terms []analysis.Term
	// Vector is the question of the vector leg; empty for no such leg.
	Vector []float32
	// Principals are the caller's. Only documents that name one of them are
	// candidates: the list is part of the query, so that what a caller may not
	// read takes nobody's place.
	Principals []string
	// Filter is over metadata; nil passes everything. It is part of the query
	// likewise.
	Filter filter.Node
	// Require are phrases that a passage must have, and Exclude those that it must
	// not. They are part of the query likewise, in both legs.
	Require, Exclude []analysis.Phrase
	// Limit is the most hits of each leg.
	Limit int
	// Order is the lexical leg's: over everything that has any of the terms, ties
	// by chunk id. Empty: by score.
	Order []order.Key
	// Facets are counted over the documents that have a passage which satisfies
	// all of the above and, in a query without a vector, has any of the terms. A
	// query without both counts nothing.
	Facets []Facet
}

// Hit is one chunk that a leg found.
type Hit struct {
	// No and Chunk name the chunk of one version.
	No    int64
	Chunk int
	// ChunkID is the chunk's public id: the document's id, #, the number.
	ChunkID string
	// Score is BM25 (k1 1.2, b 0.75; lengths as Lucene keeps them), or what Metric
	// says.
	Score float64
}

// Legs is what a query found; each leg is ordered best first, ties by chunk id,
// unless the query orders it otherwise.
type Legs struct {
	Lexical []Hit
	Vector  []Hit
	// Facets are as they were asked for.
	Facets []Counts
	// LexicalTook and VectorTook are how long each leg took; 0 for none.
	LexicalTook, VectorTook time.Duration
	// Sequence is the generation that was searched.
	Sequence int64
}

// ErrReplace is what Apply answers when changes do not lead on: before the first
// Replace, or after a change that failed half way.
var ErrReplace = errors.New("index: the collection must be replaced")

// Collection is one collection's index. It is safe for concurrent use, except
// that Apply and Replace are called by one goroutine at a time.
type Collection interface {
	// Sequence returns the generation that searches see, or 0 when there is none:
	// the collection must be replaced first.
	Sequence() int64
	// Apply follows the truth; it can be searched when it returns. After an error
	// searches see what they saw before, where that can still be seen, and the
	// next call goes on from there or answers ErrReplace. A change that was made
	// already is made again without harm.
	Apply(ctx context.Context, c Changes) error
	// Replace makes the collection hold the given documents, ordered by number,
	// and nothing else. It may keep what it has of them already: a number stands
	// for the same content forever.
	Replace(ctx context.Context, through int64, docs iter.Seq2[Document, error]) error
	// Search finds candidates.
	Search(ctx context.Context, q Query) (Legs, error)
	// Near returns, for each question, the terms that are written about like its
	// own and that passages have which one of the principals may read and which
	// pass the filter, nil: all. No other document takes part in the answer.
	Near(ctx context.Context, principals []string, f filter.Node, questions []Near) ([][]Neighbour, error)
}

// Keeper is a collection that keeps passages over restarts.
type Keeper interface {
	Collection
	// Kept returns what tells whether a version with so many chunks is kept
	// whole: Replace may be given it with Kept set, and need not be told what its
	// chunks are. nil: nothing is. It holds for the next Replace.
	Kept(ctx context.Context) (func(no int64, chunks int) bool, error)
}

// Index holds the collections' indexes. It is safe for concurrent use.
type Index interface {
	// Open returns the index of the collection with that name, which is unique
	// forever and safe as a file's name; an unknown one is made, empty. The
	// options are the same every time.
	Open(ctx context.Context, name string, opts ...Option) (Collection, error)
	// Drop removes a collection; an unknown one is no error. Searches in hand
	// may fail.
	Drop(ctx context.Context, name string) error
	// Names returns the collections that are kept, in no order, so that those
	// which the truth does not know can be dropped.
	Names(ctx context.Context) ([]string, error)
	// Close releases everything.
	Close() error
}
