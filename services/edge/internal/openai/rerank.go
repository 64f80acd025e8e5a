package openai

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

const rerankIDPrefix = "rerank-"

// Rerank puts documents in the order of how well they answer a query.
func (s *Server) Rerank(ctx context.Context, req *edgev1.RerankRequest) (_ *edgev1.RerankResponse, err error) {
	ctx, routed, err := s.route(ctx, route.Rerank, &req.Model, req, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	if err := obey(ctx, unaryHeader(ctx), &req.Model, 1, nil); err != nil {
		return nil, err
	}
	in := s.Inspector.Of(ctx, detect.Request, req.GetModel())
	req.Query = in.Text(req.GetQuery())
	in.Extra(req.GetExtra())
	extra, err := jsoncodec.Object(req.GetExtra())
	if err != nil {
		return nil, err
	}
	h, err := s.Config.Hints(ctx, req.GetExtra())
	if err != nil {
		return nil, err
	}
	documents := make([]string, len(req.GetDocuments()))
	for i, d := range req.GetDocuments() {
		documents[i] = in.Text(rerankText(d))
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if err := setRedacted(unaryHeader(ctx), in); err != nil {
		return nil, err
	}
	hold, err := s.Meters.Begin(ctx, metering.Demand{
		Kind: metering.Rerank, Model: req.GetModel(), User: req.GetUser(), PromptBytes: rerankSize(req.GetQuery(), documents),
		Documents: len(documents),
	}, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { hold.End(ctx, err) }()
	// As the engine gets them.
	if err := s.gather(ctx, &edgev1.RerankRequest{
		Model: req.GetModel(), Query: req.GetQuery(), Documents: texts(documents), TopN: req.TopN, Extra: req.GetExtra(),
	}, nil); err != nil {
		return nil, err
	}
	ask := &inferencev1.RerankRequest{
		Model: req.GetModel(), Query: req.GetQuery(), Documents: documents, Extra: extra,
		RoutingKey: routingKey(ctx, req.GetUser()), Priority: h.Priority, SessionId: h.Session, WaitForReady: h.Wait, ExperimentHeaders: h.Headers,
	}
	resp, err := askUnary(ctx, s, req.GetModel(), nil, func(ctx context.Context, as attempt) (*inferencev1.RerankResponse, error) {
		ask.MaxAttempts, ask.NoRestartWait = as.workers, as.noRestartWait
		return s.Inference.Rerank(ctx, ask)
	})
	if told := routed.tellAttempts(unaryHeader(ctx)); err == nil {
		err = told
	}
	if err != nil {
		return nil, err
	}
	hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
	if err := Served(ctx, unaryHeader(ctx), resp.GetServedBy()); err != nil {
		return nil, err
	}
	tokens := resp.GetUsage().GetPromptTokens()
	audit.From(ctx).SetTokens(tokens, 0)
	results, err := ranked(resp.GetRelevanceScores(), len(documents))
	if err != nil {
		return nil, err
	}
	if req.TopN != nil {
		results = results[:min(int(req.GetTopN()), len(results))]
	}
	if req.GetReturnDocuments() {
		for _, r := range results {
			r.Document = &edgev1.RerankText{Text: documents[r.GetIndex()]}
		}
	}
	return &edgev1.RerankResponse{
		Id: rerankIDPrefix + s.IDs.New(), Model: req.GetModel(), Results: results,
		Usage: &edgev1.RerankUsage{PromptTokens: tokens, TotalTokens: tokens},
		Meta:  &edgev1.RerankMeta{Tokens: &edgev1.RerankTokens{InputTokens: tokens}},
	}, nil
}

func texts(documents []string) []*edgev1.RerankDocument {
	out := make([]*edgev1.RerankDocument, len(documents))
	for i, d := range documents {
		out[i] = &edgev1.RerankDocument{Document: &edgev1.RerankDocument_Text{Text: d}}
	}
	return out
}

func rerankText(d *edgev1.RerankDocument) string {
	if o, ok := d.GetDocument().(*edgev1.RerankDocument_Object); ok {
		return o.Object.GetText()
	}
	return d.GetText()
}

// ranked orders the documents' scores, best first and equal ones as they came.
func ranked(scores []float64, want int) ([]*edgev1.RerankResult, error) {
	if len(scores) != want {
		return nil, engineFailed(fmt.Errorf("%d scores for %d documents", len(scores), want))
	}
	out := make([]*edgev1.RerankResult, len(scores))
	for i, score := range scores {
		if math.IsNaN(score) || math.IsInf(score, 0) {
			return nil, engineFailed(fmt.Errorf("document %d has a score that is no number", i))
		}
		out[i] = &edgev1.RerankResult{Index: int32(i), RelevanceScore: score}
	}
	slices.SortStableFunc(out, func(a, b *edgev1.RerankResult) int {
		return cmp.Compare(b.GetRelevanceScore(), a.GetRelevanceScore())
	})
	return out, nil
}
