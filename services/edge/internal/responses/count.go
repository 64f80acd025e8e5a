package responses

import (
	"context"
	"encoding/json"
	"maps"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// CountResponseInputTokens counts what a response would be asked with.
func (s *Server) CountResponseInputTokens(ctx context.Context, req *edgev1.CountResponseInputTokensRequest) (*edgev1.CountResponseInputTokensResponse, error) {
	ask := &edgev1.CreateResponseRequest{
		Model: req.GetModel(), Input: req.GetInput(), Instructions: req.Instructions, PreviousResponseId: req.GetPreviousResponseId(),
		Tools: req.GetTools(), ToolChoice: req.GetToolChoice(), Extra: maps.Clone(req.GetExtra()),
	}
	if err := countedAs(ask); err != nil {
		return nil, err
	}
	a, err := s.prepare(ctx, ask)
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

// countedAs takes members that the contract of a response names, and that of its count
// does not, for what they are in a response: they are judged alike, and do not reach the
// engine as they are.
func countedAs(ask *edgev1.CreateResponseRequest) error {
	const memberText, memberTruncation = "text", "truncation"
	if raw, given := ask.GetExtra()[memberTruncation]; given && raw != "null" && raw != `"disabled"` {
		return invalid(memberTruncation, "must be disabled")
	}
	delete(ask.GetExtra(), memberTruncation)
	raw, given := ask.GetExtra()[memberText]
	if !given {
		return nil
	}
	delete(ask.GetExtra(), memberText)
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(raw), &members) != nil {
		return invalid(memberText, "must be an object")
	}
	ask.Text = &edgev1.ResponseText{Extra: make(map[string]string)}
	for name, value := range members {
		if name == "format" {
			ask.Text.Format = &commonv1.RawJson{Json: string(value)}
			continue
		}
		ask.Text.Extra[name] = string(value)
	}
	return nil
}
