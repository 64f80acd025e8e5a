// Package query answers searches: it asks the index for the candidates of each
// leg, puts the legs together, and reads the passages from the truth. Start
// reading at Searcher.Search.
package query

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
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
	clock    clock.Clock
}

// New returns a searcher.
func New(s *store.Store, indexes Indexes, e Embedder, r Reranker, c clock.Clock) *Searcher {
	return &Searcher{store: s, indexes: indexes, embedder: e, reranker: r, clock: c}
}

// Request is a search by a caller with the given principals.
type Request struct {
	Principals []string
	Query      string
	TopK       int
	Mode       Mode
	Filter     string
	// Required is a filter that documents must pass besides.
	Required string
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
	Facets        []index.Counts
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
	if err := req.check(); err != nil {
		return Answer{}, err
	}
	// The same version and number may be another passage in another one.
	req.Binding = binary.BigEndian.AppendUint32(slices.Clone(req.Binding), uint32(c.EmbeddingGeneration))
	what, err := read(req)
	if err != nil {
		return Answer{}, err
	}
	if req.PageToken != "" {
		return s.nextPage(ctx, c, req, what)
	}
	q, a, err := s.question(ctx, c, req, what, max(LegHits, req.TopK))
	if err != nil {
		return Answer{}, err
	}
	q.Facets = req.Facets
	a, err = s.find(ctx, c, q, req, what, a)
	if err != nil || !req.Suggest {
		return a, err
	}
	if a.Suggestion, err = s.suggestion(ctx, c, req, what.Query); err != nil { // what was found is worth more
		a.Warnings = append(a.Warnings, "nothing could be suggested: "+apierr.From(err).Message)
	}
	return a, ctx.Err()
}

// searches is how often a search is made again because what it found was
// replaced before it was read.
const searches = 3

func (s *Searcher) find(ctx context.Context, c store.Collection, q index.Query, req Request, what said, asked Answer) (Answer, error) {
	ic, err := s.indexes.Collection(ctx, c)
	if err != nil {
		return Answer{}, err
	}
	keys := ordering(&q, asked.Mode)
	for attempt := 1; ; attempt++ {
		legs, err := s.look(ctx, c, ic, q)
		if err != nil {
			return Answer{}, err
		}
		a := asked
		results, names, refs := fuse(legs, a, weightsOf(c, req))
		found, whole := candidates(results, refs), true
		switch {
		case len(q.Order) > 0:
			asFound(found, legs.Lexical)
		case len(keys) > 0:
			if found, whole, err = s.order(ctx, c, found[:min(len(found), q.Limit)], keys); err != nil {
				return Answer{}, err
			}
		}
		ranked, err := s.arrange(ctx, c, req, what, found, &a)
		if err != nil {
			return Answer{}, err
		}
		page := ranked[:min(len(ranked), req.TopK)]
		passages, err := s.store.Passages(ctx, c, references(page))
		if err != nil {
			return Answer{}, err
		}
		if (!whole || !allThere(page, passages)) && attempt < searches {
			if ic, err = s.refresh(ctx, c); err != nil {
				return Answer{}, err
			}
			continue
		}
		if !whole || !allThere(page, passages) {
			if err := s.stillServes(ctx, c); err != nil {
				return Answer{}, err
			}
		}
		a.Generation, a.Legs, a.Facets = legs.Sequence, names, legs.Facets
		a.LexicalTook, a.VectorTook = legs.LexicalTook, legs.VectorTook
		a.Hits = hits(page, passages, what.terms)
		a.NextPageToken = firstToken(req, a, ranked, len(keys) == 0 && full(legs, q))
		return a, nil
	}
}

// look searches an index, or the one in its place when it was made anew and
// closed meanwhile.
func (s *Searcher) look(ctx context.Context, c store.Collection, ic index.Collection, q index.Query) (index.Legs, error) {
	for attempt := 1; ; attempt++ {
		legs, err := ic.Search(ctx, q)
		if err == nil {
			return legs, nil
		}
		again, failed := s.indexes.Collection(ctx, c)
		if failed != nil || again == ic || attempt == searches {
			return index.Legs{}, outage.OfIndex(err)
		}
		ic = again
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
