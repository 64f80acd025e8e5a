package openai

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/enduser"
)

const objectTokenCount = "token_count"

// CountTokens counts the tokens of a prompt, and runs nothing.
func (s *Server) CountTokens(ctx context.Context, req *edgev1.CountTokensRequest) (*edgev1.CountTokensResponse, error) {
	if err := obey(ctx, unaryHeader(ctx), &req.Model, 1, nil); err != nil {
		return nil, err
	}
	operation, prompt, err := promptOf(req)
	if err != nil {
		return nil, err
	}
	body, err := s.Codec.Marshal(prompt)
	if err != nil {
		return nil, err
	}
	h, err := s.Config.Hints(ctx, req.GetExtra())
	if err != nil {
		return nil, err
	}
	resp, err := s.Inference.CountTokens(ctx, &inferencev1.CountTokensRequest{
		Model: req.GetModel(), Operation: operation, Body: body, RoutingKey: routingKey(ctx, enduser.Of(prompt)),
		SessionId: h.Session, ExperimentHeaders: h.Headers,
	})
	if err != nil {
		return nil, err
	}
	if err := Served(ctx, unaryHeader(ctx), resp.GetServedBy()); err != nil {
		return nil, err
	}
	out := &edgev1.CountTokensResponse{Object: objectTokenCount, Model: req.GetModel(), PromptTokens: resp.GetPromptTokens()}
	if n := resp.GetContextLength(); n > 0 {
		out.ContextLength = &n
	}
	return out, nil
}

// promptOf makes the request of which the prompt would be, as the engine would
// get it.
func promptOf(req *edgev1.CountTokensRequest) (workerv1.Operation, proto.Message, error) {
	if _, asks := req.GetExtra()["retrieval"]; asks {
		return 0, nil, invalid("retrieval", "cannot be counted: what will be found is not known before it is looked for")
	}
	switch chat, text := len(req.GetMessages()) > 0, req.GetPrompt() != nil; {
	case chat && text:
		return 0, nil, invalid("prompt", "must not be given besides messages")
	case chat:
		m := &edgev1.CreateChatCompletionRequest{
			Model: req.GetModel(), Messages: req.GetMessages(), Tools: req.GetTools(), User: req.GetUser(),
			SafetyIdentifier: req.GetSafetyIdentifier(), Extra: req.GetExtra(),
		}
		return workerv1.Operation_OPERATION_CHAT, m, checkChat(m)
	case text && len(req.GetTools()) > 0:
		return 0, nil, invalid("tools", "are for conversations only: give messages")
	case text:
		m := &edgev1.CreateCompletionRequest{Model: req.GetModel(), Prompt: req.GetPrompt(), User: req.GetUser(), Extra: req.GetExtra()}
		return workerv1.Operation_OPERATION_COMPLETION, m, checkCompletion(m)
	default:
		return 0, nil, apierr.Invalid("messages", "messages, or prompt, is required")
	}
}
