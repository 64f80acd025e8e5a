package query

import (
	"cmp"
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// question is what the index is asked, and what is known of the answer before.
func (s *Searcher) question(ctx context.Context, c store.Collection, req Request, what said, limit int) (index.Query, Answer, error) {
	f, err := parse(req.Filter)
	if err != nil {
		return index.Query{}, Answer{}, err
	}
	must, err := required(req.Required)
	if err != nil {
		return index.Query{}, Answer{}, err
	}
	f = both(must, f)
	if c.Expires {
		f = filter.Live(f, s.clock.Now())
	}
	q := index.Query{
		Principals: req.Principals, Filter: f, Require: what.Require, Exclude: what.Exclude,
		Limit: limit, Order: req.OrderBy,
	}
	a := Answer{Mode: req.Mode, Language: languageOf(req, what)}
	if req.Mode != Lexical {
		if q.Vector, err = s.embed(ctx, c, what.Text); err != nil {
			if req.Mode == Vector || ctx.Err() != nil {
				return index.Query{}, Answer{}, err
			}
			a.Mode = Lexical
			a.Warnings = append(a.Warnings, "answered by words alone: "+apierr.From(err).Message)
		}
	}
	if a.Mode != Vector {
		q.Terms = what.terms
	}
	if a.Mode == Hybrid {
		a.Fusion = req.Fusion.Or(fusion.Method(c.Fusion)).Or(fusion.Standardised)
	}
	return q, a, nil
}

// languageOf is what the query is taken for; "" when it does not tell.
func languageOf(req Request, what said) string {
	return cmp.Or(req.Language, analysis.LanguageOf(what.Text))
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
