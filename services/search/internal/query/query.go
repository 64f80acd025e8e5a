// Package query answers searches: it asks the index for the candidates of each
// leg, puts the legs together, and reads the passages from the truth. Start
// reading at Searcher.Search.
package query

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/highlight"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Mode says which legs a search has.
type Mode string

// The modes.
const (
	Hybrid  Mode = "hybrid"
	Lexical Mode = "lexical"
	Vector  Mode = "vector"
)

// LegHits is how many hits each leg contributes at least.
const LegHits = 100

// Embedder turns a query into a vector.
type Embedder interface {
	Embed(ctx context.Context, model string, kind embedding.Kind, texts []string) (embedding.Vectors, error)
}

// Indexes gives the collections' indexes.
type Indexes interface {
	Collection(ctx context.Context, c store.Collection) (index.Collection, error)
	CatchUp(ctx context.Context, c store.Collection, to int64) (index.Collection, error)
}

// Searcher answers searches. It is safe for concurrent use.
type Searcher struct {
	store    *store.Store
	indexes  Indexes
	embedder Embedder
	clock    clock.Clock
}

// New returns a searcher.
func New(s *store.Store, indexes Indexes, e Embedder, c clock.Clock) *Searcher {
	return &Searcher{store: s, indexes: indexes, embedder: e, clock: c}
}

// Request is a search by a caller with the given principals.
type Request struct {
	Principals []string
	Query      string
	TopK       int
	Mode       Mode
	Filter     string
	// Fusion is how a hybrid search puts its legs together; empty for the
	// collection's way.
	Fusion fusion.Method
	// Weights are those of its legs; nil for the collection's.
	Weights *store.Weights
	// Facets are what is counted, and OrderBy orders the hits; empty: by score.
	Facets  []index.Facet
	OrderBy []order.Key
	// Suggest asks for unknown words to be corrected.
	Suggest bool
	// Language is that of the query; empty: as it seems to be.
	Language string
	// Plain says that the query has no marks.
	Plain bool
}

// Hit is one passage that answers.
type Hit struct {
	fusion.Result
	Passage    store.Passage
	Highlights []string
}

// Answer is what was found.
type Answer struct {
	Hits       []Hit
	Generation int64
	// Mode is the one that was used, and Legs the names of its legs, in the order
	// of every hit's parts.
	Mode Mode
	Legs []string
	// Fusion is how the legs were put together; empty when there was one.
	Fusion   fusion.Method
	Warnings []string
	Facets   []index.Counts
	// Suggestion is the corrected query; empty when there is nothing to correct.
	Suggestion string
	// Language is what the query was taken for; empty when it does not tell.
	Language string
	// LexicalTook and VectorTook are how long the index took for each leg.
	LexicalTook, VectorTook time.Duration
}

// search answers the request by c's embedding generation and no other: the
// query's vector, the index and the passages are of that one.
func (s *Searcher) search(ctx context.Context, c store.Collection, req Request) (Answer, error) {
	f, err := parse(req.Filter)
	if err != nil {
		return Answer{}, err
	}
	if c.Expires {
		f = filter.Live(f, s.clock.Now())
	}
	said, err := read(req.Query, req.Plain)
	if err != nil {
		return Answer{}, err
	}
	q := index.Query{
		Principals: req.Principals, Filter: f, Require: said.Require, Exclude: said.Exclude,
		Limit: max(LegHits, req.TopK), Facets: req.Facets, Order: req.OrderBy,
	}
	a := Answer{Mode: req.Mode, Language: cmp.Or(req.Language, analysis.LanguageOf(said.Text))}
	terms := analysis.QueryIn(said.Text, req.Language)
	if req.Mode != Lexical {
		if q.Vector, err = s.embed(ctx, c, said.Text); err != nil {
			if req.Mode == Vector || ctx.Err() != nil {
				return Answer{}, err
			}
			a.Mode = Lexical
			a.Warnings = append(a.Warnings, "answered by words alone: "+apierr.From(err).Message)
		}
	}
	if a.Mode != Vector {
		q.Terms = terms
	}
	if a.Mode == Hybrid {
		a.Fusion = req.Fusion.Or(fusion.Method(c.Fusion)).Or(fusion.Standardised)
	}
	a, err = s.find(ctx, c, q, req.TopK, a, weightsOf(c, req), terms)
	if err != nil || !req.Suggest {
		return a, err
	}
	if a.Suggestion, err = s.suggestion(ctx, c, req, said); err != nil { // what was found is worth more
		a.Warnings = append(a.Warnings, "nothing could be suggested: "+apierr.From(err).Message)
	}
	return a, ctx.Err()
}

// weightsOf returns the legs' weights: the request's, else the collection's,
// else the same for both.
func weightsOf(c store.Collection, req Request) store.Weights {
	for _, w := range []*store.Weights{req.Weights, c.Weights} {
		if w != nil {
			return *w
		}
	}
	return store.Weights{Lexical: 1, Vector: 1}
}

func parse(s string) (filter.Node, error) {
	f, err := filter.Parse(s)
	if bad, ok := errors.AsType[*filter.Error](err); ok {
		return nil, apierr.Invalid("filter", "the filter is wrong at %v", bad)
	}
	return f, err
}

// embed returns the query's vector; none for a collection without vectors. The
// model is asked for that one, too: what cannot be embedded has no vectors, and
// its searcher must hear of it.
func (s *Searcher) embed(ctx context.Context, c store.Collection, query string) ([]float32, error) {
	v, err := s.embedder.Embed(ctx, embedding.Pinned(c.EmbeddingModel, c.EmbeddingDigest), embedding.Query, []string{query})
	if err != nil {
		e := embedding.Failure(err)
		if e.Field != "" {
			e = e.WithField("query")
		}
		return nil, e
	}
	if c.Dimensions == 0 {
		return nil, nil
	}
	if got := len(v.Values[0]); got != c.Dimensions {
		return nil, apierr.New(apierr.Unavailable,
			"embedding is unavailable: the model gives %d dimensions, the collection has %d", got, c.Dimensions)
	}
	return v.Values[0], nil
}

// searches is how often a search is made again because what it found was
// replaced before it was read.
const searches = 3

func (s *Searcher) find(ctx context.Context, c store.Collection, q index.Query, topK int, a Answer, w store.Weights, terms []analysis.Term) (Answer, error) {
	ic, err := s.indexes.Collection(ctx, c)
	if err != nil {
		return Answer{}, err
	}
	keys, wantedHits := ordering(&q, a.Mode, topK)
	for attempt := 1; ; attempt++ {
		legs, err := ic.Search(ctx, q)
		if err != nil {
			// It may have been made anew meanwhile, and the old one closed.
			if again, failed := s.indexes.Collection(ctx, c); failed == nil && again != ic && attempt < searches {
				ic = again
				continue
			}
			return Answer{}, outage.OfIndex(err)
		}
		results, names, refs := fuse(legs, a, w)
		results = results[:min(len(results), wantedHits)]
		wanted := make([]store.Ref, len(results))
		for i, r := range results {
			wanted[i] = refs[r.ID]
		}
		passages, err := s.store.Passages(ctx, c, wanted)
		if err != nil {
			return Answer{}, err
		}
		if len(passages) < len(results) && attempt < searches {
			if ic, err = s.refresh(ctx, c); err != nil {
				return Answer{}, err
			}
			continue
		}
		if len(passages) < len(results) {
			if err := s.stillServes(ctx, c); err != nil {
				return Answer{}, err
			}
		}
		a.Generation, a.Legs, a.Facets = legs.Sequence, names, legs.Facets
		a.LexicalTook, a.VectorTook = legs.LexicalTook, legs.VectorTook
		a.Hits = make([]Hit, 0, len(passages))
		for i, r := range results {
			if p, ok := passages[wanted[i]]; ok {
				a.Hits = append(a.Hits, Hit{Result: r, Passage: p, Highlights: highlight.Fragments(p.Chunk.Text, terms)})
			}
		}
		a.Hits, err = ordered(a.Hits, keys, topK)
		return a, err
	}
}

// stillServes returns store.ErrNotServing when another embedding generation than
// c's serves by now: passages may be missing because c's are being removed.
func (s *Searcher) stillServes(ctx context.Context, c store.Collection) error {
	now, err := s.store.Collection(ctx, c.Tenant, c.ID)
	if err == nil && now.UID == c.UID && now.EmbeddingGeneration != c.EmbeddingGeneration {
		return store.ErrNotServing
	}
	return err
}

// refresh returns the index once it has what the truth has now.
func (s *Searcher) refresh(ctx context.Context, c store.Collection) (index.Collection, error) {
	g, err := s.store.Generation(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.indexes.CatchUp(ctx, c, g)
}

// fuse puts the legs of the answer's mode together, its way.
func fuse(legs index.Legs, a Answer, w store.Weights) (results []fusion.Result, names []string, refs map[string]store.Ref) {
	refs = make(map[string]store.Ref, len(legs.Lexical)+len(legs.Vector))
	leg := func(name string, weight float64, hits []index.Hit) fusion.Leg {
		names = append(names, name)
		l := fusion.Leg{Name: name, Weight: weight, Hits: make([]fusion.Scored, len(hits))}
		for i, h := range hits {
			l.Hits[i] = fusion.Scored{ID: h.ChunkID, Score: h.Score}
			refs[h.ChunkID] = store.Ref{No: h.No, Number: h.Chunk}
		}
		return l
	}
	lexical := func() fusion.Leg { return leg(string(Lexical), w.Lexical, legs.Lexical) }
	vector := func() fusion.Leg { return leg(string(Vector), w.Vector, legs.Vector) }
	switch a.Mode {
	case Lexical:
		return fusion.Single(lexical()), names, refs
	case Vector:
		return fusion.Single(vector()), names, refs
	case Hybrid:
		fallthrough
	default:
		both := []fusion.Leg{lexical(), vector()}
		return fusion.Fuse(a.Fusion, both), names, refs
	}
}
