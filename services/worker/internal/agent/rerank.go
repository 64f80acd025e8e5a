package agent

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Rerank returns a score for each document. The bounds are those of embedding,
// and so is the line in which parts of large calls wait; documents of several
// calls are not gathered, since each call to an engine is about one query.
func (a *Agent) Rerank(ctx context.Context, req *workerv1.RerankRequest) (resp *workerv1.RerankResponse, err error) {
	w, err := a.begin(req.GetDigest(), opRerank, req.GetReplica())
	if err != nil {
		return nil, err
	}
	defer func() { err = w.end(ctx, resp.GetUsage(), err) }()
	r, can := w.engine.(engine.Reranker)
	if !can {
		return nil, apierr.New(apierr.InvalidArgument, "the model does not score documents").WithField("model")
	}
	if err := a.cfg.Embedding.checkPairs(req.GetQuery(), req.GetDocuments(), w.model.contextLength()); err != nil {
		return nil, err
	}
	out, err := r.Rerank(ctx, engine.RerankRequest{
		Query: req.GetQuery(), Documents: req.GetDocuments(), Extra: req.GetExtra(), Turn: w.model.turn,
	})
	if err != nil {
		return nil, err
	}
	return &workerv1.RerankResponse{RelevanceScores: out.Scores, Usage: out.Usage}, nil
}

// checkPairs is check for a query with each of the documents: the query is read
// again with every one of them.
func (c EmbeddingConfig) checkPairs(query string, documents []string, context int) error {
	size := 0
	for _, d := range documents {
		size += len(query) + len(d)
	}
	if size > c.MaxBytes {
		return apierr.New(apierr.PayloadTooLarge, "the documents, each with the query, have %d bytes together, the limit is %d", size, c.MaxBytes)
	}
	if context == 0 {
		return nil
	}
	asked := engine.Input{Text: query}.LeastTokens()
	for i, d := range documents {
		if n := asked + (engine.Input{Text: d}).LeastTokens(); n > c.ContextMultiple*context {
			return apierr.New(apierr.ContextLengthExceeded,
				"the query and document %d have at least about %d tokens; the model's context is %d, and up to %d times as many are taken",
				i, n, context, c.ContextMultiple).
				WithField("documents["+strconv.Itoa(i)+"]").WithMetadata("context_length", strconv.Itoa(context))
		}
	}
	return nil
}
