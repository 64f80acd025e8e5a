package api

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// Invoke runs one request and answers with the engine's whole answer.
func (s *Server) Invoke(ctx context.Context, req *inferencev1.InvokeRequest) (resp *inferencev1.InvokeResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req.GetModel(), req.GetRoutingKey(), operationName(req.GetOperation()))
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_CHAT); err != nil {
		return nil, err
	}
	ask := &workerv1.InvokeRequest{Digest: j.query.Digest, Operation: req.GetOperation(), Body: req.GetBody()}
	j.query.Print = s.printInvoke(ask)
	err = s.opts.Router.Do(ctx, j.query, func(ctx context.Context, c *fleet.Copy, attempt int) (bool, error) {
		answer, err := c.Worker().Client().Invoke(ctx, ask)
		if err != nil {
			return false, err
		}
		resp = &inferencev1.InvokeResponse{
			ServedBy: j.servedBy(c, attempt), Body: answer.GetBody(), Usage: answer.GetUsage(),
		}
		return true, nil
	})
	return resp, err
}

// Embed embeds texts.
func (s *Server) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (resp *inferencev1.EmbedResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req.GetModel(), req.GetRoutingKey(), operationEmbed)
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_EMBEDDING); err != nil {
		return nil, err
	}
	ask := &workerv1.EmbedRequest{
		Digest: j.query.Digest, Inputs: req.GetInputs(), InputType: req.GetInputType(),
		Dimensions: req.GetDimensions(), Extra: req.GetExtra(),
	}
	j.query.Print = s.printEmbed(ask)
	err = s.opts.Router.Do(ctx, j.query, func(ctx context.Context, c *fleet.Copy, attempt int) (bool, error) {
		answer, err := c.Worker().Client().Embed(ctx, ask)
		if err != nil {
			return false, err
		}
		resp = &inferencev1.EmbedResponse{
			ServedBy: j.servedBy(c, attempt), Embeddings: answer.GetEmbeddings(), Usage: answer.GetUsage(),
		}
		return true, nil
	})
	return resp, err
}

// checkTask refuses what the model is not for, before an engine answers it with
// an error of its own.
func checkTask(v *catalog.Version, task commonv1.Task) error {
	has := v.Spec.GetTask()
	if has == task || has == commonv1.Task_TASK_UNSPECIFIED {
		return nil
	}
	if has == commonv1.Task_TASK_EMBEDDING {
		return apierr.Invalid("model", "model %q embeds texts and does not complete them", v.Model)
	}
	return apierr.Invalid("model", "model %q completes texts and does not embed them", v.Model)
}

func operationName(op workerv1.Operation) string {
	switch op {
	case workerv1.Operation_OPERATION_CHAT:
		return "chat"
	case workerv1.Operation_OPERATION_COMPLETION:
		return "completion"
	case workerv1.Operation_OPERATION_UNSPECIFIED:
		return "unspecified"
	default:
		return "unspecified"
	}
}
