// Package wellformed tells of the commonest request that it keeps the rules of its
// contract, without reflection: a chat of plain texts. Everything else is looked at by the
// rules themselves. Start reading at Sure.
package wellformed

import (
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The bounds are those of chat.proto. A text of so many bytes has no more characters.
const (
	maxMessages = 4096
	maxText     = 256
)

// Sure reports whether m surely keeps the rules; false says nothing.
func Sure(m proto.Message) bool {
	req, ok := m.(*edgev1.CreateChatCompletionRequest)
	return ok && req != nil && chat(req)
}

func chat(m *edgev1.CreateChatCompletionRequest) bool {
	if m.Retrieval != nil || m.Prompt != nil || m.Memory != nil || m.Stop != nil || m.ToolChoice != nil || len(m.Tools) > 0 {
		return false
	}
	if m.Model == "" || len(m.Model) > maxText || len(m.User) > maxText || len(m.SafetyIdentifier) > maxText {
		return false
	}
	if len(m.Messages) == 0 || len(m.Messages) > maxMessages {
		return false
	}
	if !within(m.Temperature, 0, 2) || !within(m.TopP, 0, 1) || !within(m.PresencePenalty, -2, 2) || !within(m.FrequencyPenalty, -2, 2) {
		return false
	}
	if !within(m.N, 1, 128) || !within(m.TopLogprobs, 0, 20) || below(m.MaxTokens, 1) || below(m.MaxCompletionTokens, 1) {
		return false
	}
	for _, message := range m.Messages {
		if message == nil || !plain(message) {
			return false
		}
	}
	return true
}

// plain reports whether a message is a text of somebody who may say one.
func plain(m *edgev1.ChatMessage) bool {
	switch m.Role {
	case "system", "developer", "user", "assistant", "tool":
	default:
		return false
	}
	if m.Content == nil || len(m.ToolCalls) > 0 || len(m.Annotations) > 0 || len(m.Name) > maxText || len(m.ToolCallId) > maxText {
		return false
	}
	_, text := m.Content.Content.(*edgev1.MessageContent_Text)
	return text
}

// within reports whether a number is not said, or between both bounds; what is no number
// is not.
func within[T int32 | float64](n *T, low, high T) bool { return n == nil || *n >= low && *n <= high }

func below(n *int32, low int32) bool { return n != nil && *n < low }
