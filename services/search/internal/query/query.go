// Package query answers searches: it asks the index for the candidates of each
// leg, puts the legs together, and reads the passages from the truth. Start
// reading at Searcher.Search.
package query

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/outage"
	"github.com/poterne/poterne/services/search/internal/ranking"
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
	reranker Reranker
}

// New returns a searcher.
func New(s *store.Store, indexes Indexes, e Embedder, r Reranker) *Searcher {
	return &Searcher{store: s, indexes: indexes, embedder: e, reranker: r}
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
	// Arrangement is what is done with what was found.
	Arrangement
	// Explain says that hits tell why they rank where they do: page tokens must
	// carry it.
	Explain bool
	// PageToken goes on with another answer; "" for the first page. Binding stands
	// for the search that page tokens belong to.
	PageToken string
	Binding   []byte
}

// Hit is one passage that answers.
type Hit struct {
	fusion.Result
	Passage    store.Passage
	Highlights []string
	// NearDuplicates are the passages that the hit stands for besides its own.
	NearDuplicates NearDuplicates
	// Reranked and Diversified are nil where those steps did not look at it.
	Reranked    *ranking.Reranked
	Diversified *ranking.Diversified
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
	// RerankedBy is the version of the model that reranked; "" when none did.
	RerankedBy string
	// NextPageToken goes on; "" when there is nothing more.
	NextPageToken string
}

// Search answers the request. A hybrid search whose query cannot be embedded is
// answered by words alone, with a warning; a search by vector fails then.
func (s *Searcher) Search(ctx context.Context, c store.Collection, req Request) (Answer, error) {
	if req.PageToken != "" {
		return s.nextPage(ctx, c, req)
	}
	q, a, terms, err := s.question(ctx, c, req, max(LegHits, req.TopK))
	if err != nil {
		return Answer{}, err
	}
	return s.find(ctx, c, q, req, a, terms)
}

// question is what the index is asked, and what is known of the answer before.
func (s *Searcher) question(ctx context.Context, c store.Collection, req Request, limit int) (index.Query, Answer, []analysis.Term, error) {
	f, err := parse(req.Filter)
	if err != nil {
		return index.Query{}, Answer{}, nil, err
	}
	q := index.Query{Principals: req.Principals, Filter: f, Limit: limit}
	a := Answer{Mode: req.Mode}
	terms := analysis.Query(req.Query)
	if req.Mode != Lexical {
		if q.Vector, err = s.embed(ctx, c, req.Query); err != nil {
			if req.Mode == Vector || ctx.Err() != nil {
				return index.Query{}, Answer{}, nil, err
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
	return q, a, terms, nil
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

func (s *Searcher) find(ctx context.Context, c store.Collection, q index.Query, req Request, asked Answer, terms []analysis.Term) (Answer, error) {
	ic, err := s.indexes.Collection(ctx, c)
	if err != nil {
		return Answer{}, err
	}
	for attempt := 1; ; attempt++ {
		legs, err := ic.Search(ctx, q)
		if err != nil {
			return Answer{}, outage.OfIndex(err)
		}
		a := asked
		results, names, refs := fuse(legs, a, weightsOf(c, req))
		ranked, err := s.arrange(ctx, c, req, candidates(results, refs), &a)
		if err != nil {
			return Answer{}, err
		}
		page := ranked[:min(len(ranked), req.TopK)]
		passages, err := s.store.Passages(ctx, c, references(page))
		if err != nil {
			return Answer{}, err
		}
		if !allThere(page, passages) && attempt < searches {
			if ic, err = s.refresh(ctx, c); err != nil {
				return Answer{}, err
			}
			continue
		}
		a.Generation, a.Legs = legs.Sequence, names
		a.Hits = hits(page, passages, terms)
		a.NextPageToken = firstToken(req, a, ranked, full(legs, q))
		return a, nil
	}
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
