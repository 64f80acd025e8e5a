package openai

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/enduser"
)

// HeaderRetrieval says not-found where a question was answered without a model,
// since nothing was found that an answer could rest on.
const HeaderRetrieval = "x-poterne-retrieval"

const retrievalNotFound = "not-found"

// passagesLater gives the variable that passages are filled into a value, so that what
// the registry's prompt needs is there before they are looked up.
func passagesLater(req *edgev1.CreateChatCompletionRequest) {
	name, prompt := req.GetRetrieval().GetVariable(), req.GetPrompt()
	if name == "" || prompt == nil {
		return
	}
	if prompt.GetVariables() == nil {
		prompt.Variables = make(map[string]string, 1)
	}
	prompt.Variables[name] = ""
}

// retrieve has passages packed into a request's prompt.
func (s *Server) retrieve(ctx context.Context, req *edgev1.CreateChatCompletionRequest, out *rests) (*contextbuilder.Found, error) {
	found, err := s.Context.Build(ctx, req, func(ctx context.Context) (int, error) { return s.promptTokens(ctx, req) })
	if err != nil {
		return nil, err
	}
	out.on, out.tokens = found.Citations, found.Tokens
	return found, nil
}

// promptTokens counts the prompt of a request that is not yet what the engine gets.
func (s *Server) promptTokens(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (int, error) {
	body, err := s.Codec.Marshal(engineBody(req))
	if err != nil {
		return 0, err
	}
	h, err := s.Config.Hints(ctx, req.GetExtra())
	if err != nil {
		return 0, err
	}
	ask := &inferencev1.CountTokensRequest{
		Model: req.GetModel(), Operation: workerv1.Operation_OPERATION_CHAT, Body: body, RoutingKey: routingKey(ctx, enduser.Of(req)),
		SessionId: h.Session, ExperimentHeaders: h.Headers, ServingPrompt: true,
	}
	if p := req.GetPrompt(); p != nil {
		ask.Prompt = &inferencev1.Prompt{Id: p.GetId(), Version: p.GetVersion(), Variables: p.GetVariables()}
	}
	resp, err := s.Inference.CountTokens(ctx, ask)
	return int(resp.GetPromptTokens()), err
}

// engineBody is what of a request shapes its prompt.
func engineBody(req *edgev1.CreateChatCompletionRequest) *edgev1.CreateChatCompletionRequest {
	return &edgev1.CreateChatCompletionRequest{
		Model: req.GetModel(), Messages: req.GetMessages(), Tools: req.GetTools(), ToolChoice: req.GetToolChoice(),
		ResponseFormat: req.GetResponseFormat(), Extra: req.GetExtra(),
	}
}

// notFound answers a question for which there are no passages.
func (s *Server) notFound(ctx context.Context, req *edgev1.CreateChatCompletionRequest, setHeader func(metadata.MD) error) (*edgev1.CreateChatCompletionResponse, error) {
	if err := noModel(setHeader); err != nil {
		return nil, err
	}
	answer := &edgev1.CreateChatCompletionResponse{
		Id: s.responseID(ctx, chatIDPrefix, &inferencev1.ServedBy{Model: req.GetModel()}), Object: objectChat, Created: s.now(), Model: req.GetModel(),
		Usage: new(edgev1.Usage),
	}
	for i := range authz.Answers(req) {
		answer.Choices = append(answer.Choices, &edgev1.ChatChoice{Index: int32(i), Message: &edgev1.ChatMessage{
			Role: roleAssistant, Content: textOf(s.Context.NotFoundAnswer()),
		}, FinishReason: stopped()})
	}
	return answer, nil
}

// streamNotFound is notFound in pieces.
func (s *Server) streamNotFound(ctx context.Context, req *edgev1.CreateChatCompletionRequest, out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse], wantUsage bool) error {
	answer, err := s.notFound(ctx, req, out.SetHeader)
	if err != nil {
		return err
	}
	chunk := func(choices ...*edgev1.ChatChunkChoice) *edgev1.StreamChatCompletionResponse {
		return &edgev1.StreamChatCompletionResponse{Id: answer.GetId(), Object: objectChatChunk, Created: answer.GetCreated(), Model: answer.GetModel(), Choices: choices}
	}
	for _, c := range answer.GetChoices() {
		if err := out.Send(chunk(&edgev1.ChatChunkChoice{Index: c.GetIndex(), Delta: c.GetMessage()})); err != nil {
			return err
		}
		if err := out.Send(chunk(&edgev1.ChatChunkChoice{Index: c.GetIndex(), Delta: new(edgev1.ChatMessage), FinishReason: c.FinishReason})); err != nil {
			return err
		}
	}
	if !wantUsage {
		return nil
	}
	last := chunk()
	last.Usage = answer.GetUsage()
	return out.Send(last)
}

// noModel tells that no model is asked.
func noModel(setHeader func(metadata.MD) error) error {
	if err := setHeader(metadata.Pairs(HeaderCache, cacheBypass, HeaderRetrieval, retrievalNotFound)); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

func textOf(s string) *edgev1.MessageContent {
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: s}}
}

func stopped() *string {
	reason := "stop"
	return &reason
}
