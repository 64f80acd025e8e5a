package messages

import (
	"encoding/json"
	"slices"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// message makes a message of a chat completion; stops is where it was to stop.
func message(in *edgev1.CreateChatCompletionResponse, stops []string) *edgev1.CreateMessageResponse {
	out := &edgev1.CreateMessageResponse{
		Id: answerID(in.GetId()), Type: "message", Role: roleAssistant, Model: in.GetModel(), Usage: usage(in.GetUsage()),
	}
	if len(in.GetChoices()) == 0 {
		return out
	}
	choice := in.GetChoices()[0]
	m := choice.GetMessage()
	if m.GetReasoningContent() != "" {
		out.Content = append(out.Content, &edgev1.MessageBlock{Type: blockThinking, Thinking: m.ReasoningContent, Signature: new(string)})
	}
	if text := m.GetContent().GetText() + m.GetRefusal(); text != "" {
		out.Content = append(out.Content, &edgev1.MessageBlock{Type: blockText, Text: &text, Annotations: m.GetAnnotations()})
	}
	for _, call := range m.GetToolCalls() {
		out.Content = append(out.Content, &edgev1.MessageBlock{
			Type: blockToolUse, Id: call.GetId(), Name: call.GetFunction().GetName(), Input: input(call.GetFunction().GetArguments()),
		})
	}
	out.StopReason, out.StopSequence = stopReason(choice.GetFinishReason(), choice.GetExtra(), stops)
	return out
}

// input is a tool's arguments as an object; what a model made that is none stays
// readable as text in one.
func input(arguments string) *commonv1.RawJson {
	if arguments == "" {
		return &commonv1.RawJson{Json: "{}"}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &object) == nil && object != nil {
		return &commonv1.RawJson{Json: arguments}
	}
	text, err := json.Marshal(map[string]string{"_raw": arguments})
	if err != nil {
		return &commonv1.RawJson{Json: "{}"}
	}
	return &commonv1.RawJson{Json: string(text)}
}

// stopReason says in Anthropic's words why an answer ended. Engines that tell the
// sequence they stopped at do so in a member of their own (vLLM: stop_reason).
func stopReason(finish string, extra map[string]string, stops []string) (reason, sequence *string) {
	word := "end_turn"
	switch finish {
	case "":
		return nil, nil
	case "length":
		word = "max_tokens"
	case "tool_calls", "function_call":
		word = blockToolUse
	case "content_filter":
		word = "refusal"
	case "stop":
		var at string
		if json.Unmarshal([]byte(extra["stop_reason"]), &at) == nil && slices.Contains(stops, at) {
			word, sequence = "stop_sequence", &at
		}
	}
	return &word, sequence
}

func usage(in *edgev1.Usage) *edgev1.MessageUsage {
	cached := in.GetPromptTokensDetails().GetCachedTokens()
	return &edgev1.MessageUsage{
		InputTokens: max(in.GetPromptTokens()-cached, 0), OutputTokens: in.GetCompletionTokens(), CacheReadInputTokens: cached,
	}
}
