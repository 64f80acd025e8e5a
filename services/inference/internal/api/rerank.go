package api

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Rerank scores how well documents answer a query.
func (s *Server) Rerank(ctx context.Context, req *inferencev1.RerankRequest) (resp *inferencev1.RerankResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req, operationRerank)
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_RERANK); err != nil {
		return nil, err
	}
	for _, d := range req.GetDocuments() { // the query is read with each of them
		j.query.Bytes += len(req.GetQuery()) + len(d)
	}
	ask := &workerv1.RerankRequest{
		Digest: j.query.Digest, Query: req.GetQuery(), Documents: req.GetDocuments(), Extra: req.GetExtra(), Replica: s.opts.Replica,
	}
	j.query.Print = s.printMessage(j.query.Tenant, ask)
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().Rerank(ctx, ask)
		if err != nil {
			return false, err
		}
		if got := len(answer.GetRelevanceScores()); got != len(req.GetDocuments()) {
			return false, apierr.New(apierr.EngineFailed, "the model gave %d scores for %d documents", got, len(req.GetDocuments()))
		}
		run.Count(answer.GetUsage())
		j.usage = answer.GetUsage()
		resp = &inferencev1.RerankResponse{
			ServedBy: j.servedBy(run), RelevanceScores: answer.GetRelevanceScores(), Usage: answer.GetUsage(),
		}
		return true, nil
	})
	return resp, err
}
