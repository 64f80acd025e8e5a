package rpc

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/modelwork"
	"github.com/poterne/poterne/services/search/internal/order"
	"github.com/poterne/poterne/services/search/internal/query"
)

// The number of hits of a search that does not say, and the most of any.
const (
	defaultTopK = 10
	maxTopK     = 1000
)

// Search implements SearchService.
func (s *Server) Search(ctx context.Context, req *searchv1.SearchRequest) (answer *searchv1.SearchResponse, err error) {
	ctx, work := modelwork.NewContext(ctx)
	defer func() { tellWithout(ctx, work, answer.GetModelWork(), err, trailerOf(ctx)) }()
	began := s.o.Clock.Now()
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(req.GetQuery()) == "" {
		return nil, apierr.Invalid("query", "query must not be blank")
	}
	weights, err := weightsOf(req.GetWeights())
	if err != nil {
		return nil, err
	}
	facets, err := facetsOf(req.GetFacets())
	if err != nil {
		return nil, err
	}
	keys, err := order.Parse(req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	a, err := s.o.Searcher.Search(ctx, c, query.Request{
		Principals: who.principals, Query: req.GetQuery(), Filter: req.GetFilter(), Required: req.GetRequiredFilter(),
		TopK:   min(int(cmp.Or(max(0, req.GetTopK()), defaultTopK)), maxTopK),
		Mode:   query.Mode(cmp.Or(req.GetMode(), string(query.Hybrid))),
		Fusion: fusion.Method(req.GetFusion()), Weights: weights, Explain: req.GetExplain(),
		Arrangement: arrangementOf(req), PageToken: req.GetPageToken(), Binding: bindingOf(c, req),
		Facets: facets, OrderBy: keys, Suggest: req.GetSuggest() && req.GetRequiredFilter() == "", Language: req.GetLanguage(), Plain: req.GetPlain(),
	})
	if err != nil {
		return nil, err
	}
	resp := &searchv1.SearchResponse{
		Generation: a.Generation, Mode: string(a.Mode), Warnings: a.Warnings,
		NextPageToken: a.NextPageToken, RerankedBy: a.RerankedBy,
	}
	resp.Facets, resp.Suggestion, resp.Language = facetsToProto(req.GetFacets(), a.Facets), a.Suggestion, a.Language
	for _, h := range a.Hits {
		out, err := hitToProto(h, a, req.GetExplain())
		if err != nil {
			return nil, err
		}
		resp.Hits = append(resp.Hits, out)
	}
	took := s.o.Clock.Now().Sub(began)
	resp.TookMs = float64(took) / float64(time.Millisecond)
	s.o.Metrics.Search(ctx, string(a.Mode), len(a.Warnings) > 0, took)
	if req.GetRerank() != nil && req.GetPageToken() == "" {
		s.o.Metrics.Reranked(ctx, a.RerankedBy != "")
	}
	for leg, took := range map[query.Mode]time.Duration{query.Lexical: a.LexicalTook, query.Vector: a.VectorTook} {
		if took > 0 {
			s.o.Metrics.Leg(ctx, string(leg), took)
		}
	}
	resp.ModelWork = workToProto(work)
	return resp, nil
}
