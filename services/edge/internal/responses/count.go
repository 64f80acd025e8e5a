package responses

import (
	"context"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// CountResponseInputTokens counts what a response would be asked with.
func (s *Server) CountResponseInputTokens(ctx context.Context, req *edgev1.CountResponseInputTokensRequest) (*edgev1.CountResponseInputTokensResponse, error) {
	a, err := s.prepare(ctx, &edgev1.CreateResponseRequest{
		Model: req.GetModel(), Input: req.GetInput(), Instructions: req.Instructions, PreviousResponseId: req.GetPreviousResponseId(),
		Tools: req.GetTools(), ToolChoice: req.GetToolChoice(), Extra: req.GetExtra(),
	})
	if err != nil {
		return nil, err
	}
	if a.chat.GetPrompt() != nil {
		return nil, invalid("prompt", "cannot be counted: its messages are the registry's")
	}
	if a.chat.GetMemory() != nil {
		return nil, invalid(memberConversation, "cannot be counted: how much of it there is room for is known when it is answered")
	}
	counted, err := s.Chat.CountTokens(ctx, &edgev1.CountTokensRequest{
		Model: req.GetModel(), Messages: a.chat.GetMessages(), Tools: a.chat.GetTools(), Extra: a.chat.GetExtra(),
	})
	if err != nil {
		return nil, err
	}
	return &edgev1.CountResponseInputTokensResponse{Object: "response.input_tokens", InputTokens: counted.GetPromptTokens()}, nil
}
