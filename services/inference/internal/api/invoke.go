package api

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Invoke runs one request and answers with the engine's whole answer.
func (s *Server) Invoke(ctx context.Context, req *inferencev1.InvokeRequest) (resp *inferencev1.InvokeResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req, operationName(req.GetOperation()))
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_CHAT); err != nil {
		return nil, err
	}
	body, err := s.fill(req, &j)
	if err != nil {
		return nil, err
	}
	j.query.Prompt, j.query.Bytes = prefix.Read(body), len(body)
	ask := &workerv1.InvokeRequest{Digest: j.query.Digest, Operation: req.GetOperation(), Body: body, Replica: s.opts.Replica}
	j.query.Print = s.printInvoke(j.query.Tenant, ask)
	copied := s.opts.Shadows.Begin(ctx, j.target, req.GetOperation(), body)
	defer func() {
		copied.Part(resp.GetBody())
		copied.End(j.usage, err)
	}()
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().Invoke(ctx, ask)
		if err != nil {
			return false, err
		}
		run.Count(answer.GetUsage())
		j.usage = answer.GetUsage()
		j.refused = outcomes.Refused(answer.GetBody())
		resp = &inferencev1.InvokeResponse{
			ServedBy: j.servedBy(run), Body: answer.GetBody(), Usage: answer.GetUsage(),
		}
		return true, nil
	})
	return resp, err
}

// Embed embeds texts.
func (s *Server) Embed(ctx context.Context, req *inferencev1.EmbedRequest) (resp *inferencev1.EmbedResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req, operationEmbed)
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_EMBEDDING); err != nil {
		return nil, err
	}
	for _, in := range req.GetInputs() {
		j.query.Bytes += len(in.GetText()) + 4*len(in.GetTokens().GetIds())
	}
	ask := &workerv1.EmbedRequest{
		Digest: j.query.Digest, Inputs: req.GetInputs(), InputType: req.GetInputType(),
		Dimensions: req.GetDimensions(), Extra: req.GetExtra(), Replica: s.opts.Replica,
	}
	j.query.Print = s.printMessage(j.query.Tenant, ask)
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().Embed(ctx, ask)
		if err != nil {
			return false, err
		}
		run.Count(answer.GetUsage())
		j.usage = answer.GetUsage()
		resp = &inferencev1.EmbedResponse{
			ServedBy: j.servedBy(run), Embeddings: answer.GetEmbeddings(), Usage: answer.GetUsage(),
		}
		return true, nil
	})
	return resp, err
}

// CountTokens counts a prompt with the tokeniser of a worker that has the model.
func (s *Server) CountTokens(ctx context.Context, req *inferencev1.CountTokensRequest) (resp *inferencev1.CountTokensResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, unhurried{named: req, session: req.GetSessionId()}, operationCount)
	if err != nil {
		return nil, err
	}
	j.query.Light = true
	j.query.NoRestartWait = true // who does not get a count estimates
	defer func() { s.end(ctx, j, err) }()
	switch {
	case req.GetOperation() == workerv1.Operation_OPERATION_CHAT:
		err = checkTask(j.target.Version, commonv1.Task_TASK_CHAT)
	case j.target.Version.Spec.GetTask() == commonv1.Task_TASK_TENSOR:
		err = apierr.Invalid("model", "model %q is for tensors, and has no tokens", j.target.Version.Model)
	}
	if err != nil {
		return nil, err
	}
	body := req.GetBody()
	if req.GetPrompt() != nil || req.GetServingPrompt() {
		body, err = s.fill(&inferencev1.InvokeRequest{Operation: req.GetOperation(), Body: body, Prompt: req.GetPrompt()}, &j)
		if err != nil {
			return nil, err
		}
	}
	ask := &workerv1.TokenizeRequest{Digest: j.query.Digest, Operation: req.GetOperation(), Body: body}
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().Tokenize(ctx, ask)
		if err != nil {
			return false, err
		}
		resp = &inferencev1.CountTokensResponse{
			ServedBy: j.servedBy(run), PromptTokens: answer.GetPromptTokens(), ContextLength: answer.GetContextLength(),
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
	return apierr.Invalid("model", "model %q is for %s, and not for %s", v.Model, purpose(has), purpose(task))
}

func purpose(task commonv1.Task) string {
	switch task {
	case commonv1.Task_TASK_CHAT:
		return "chat and completion"
	case commonv1.Task_TASK_EMBEDDING:
		return "embedding"
	case commonv1.Task_TASK_TENSOR:
		return "tensors"
	case commonv1.Task_TASK_RERANK:
		return "reranking"
	case commonv1.Task_TASK_UNSPECIFIED:
		return "nothing that is known here"
	default:
		return "nothing that is known here"
	}
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
