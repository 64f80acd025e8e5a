package auditcontent

import (
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Streams of other shapes are gathered as what they were made of: a chat completion's
// chunks, with their own ids and reasons to end.

// ofMessage is what an event of a message says.
func (a *answer) ofMessage(e *edgev1.StreamMessageResponse) *edgev1.StreamChatCompletionResponse {
	chunk, d := a.goOn(), new(edgev1.ChatMessage)
	if m := e.GetMessage(); m != nil {
		chunk.Id, chunk.Model, d.Role = m.GetId(), m.GetModel(), m.GetRole()
	}
	if b := e.GetContentBlock(); b != nil {
		d.Annotations = b.GetAnnotations()
		if b.GetName() != "" {
			d.ToolCalls = calls(&edgev1.ToolCall{
				Index: e.Index, Id: b.GetId(), Type: b.GetType(), Function: &edgev1.ToolCallFunction{Name: b.GetName()},
			})
		}
	}
	choice := &edgev1.ChatChunkChoice{Delta: d}
	if more := e.GetDelta(); more != nil {
		if more.Text != nil {
			d.Content = content(more.GetText())
		}
		if more.PartialJson != nil {
			d.ToolCalls = calls(&edgev1.ToolCall{Index: e.Index, Function: &edgev1.ToolCallFunction{Arguments: more.PartialJson}})
		}
		d.ReasoningContent, choice.FinishReason = more.Thinking, more.StopReason
	}
	if u := e.GetUsage(); u != nil {
		chunk.Usage = used(u.GetInputTokens(), u.GetOutputTokens(), u.GetCacheReadInputTokens())
	}
	chunk.Choices = []*edgev1.ChatChunkChoice{choice}
	return chunk
}

// ofResponse is what an event of a response says.
func (a *answer) ofResponse(e *edgev1.ResponseEvent) *edgev1.StreamChatCompletionResponse {
	chunk, d := a.goOn(), new(edgev1.ChatMessage)
	choice := &edgev1.ChatChunkChoice{Delta: d}
	if r := e.GetResponse(); r != nil {
		chunk.Id, chunk.Model, chunk.Created = r.GetId(), r.GetModel(), r.GetCreatedAt()
		if u := r.GetUsage(); u != nil { // it is the last one
			chunk.Usage = used(u.GetInputTokens(), u.GetOutputTokens(), u.GetInputTokensDetails().GetCachedTokens())
			choice.FinishReason = new(r.GetStatus())
		}
	}
	switch kind, _ := strings.CutPrefix(e.GetType(), "response."); kind {
	case "output_item.added":
		d.Role = e.GetItem().GetRole()
		if name := e.GetItem().GetName(); name != "" {
			d.ToolCalls = calls(&edgev1.ToolCall{
				Index: e.OutputIndex, Id: e.GetItem().GetCallId(), Type: e.GetItem().GetType(), Function: &edgev1.ToolCallFunction{Name: name},
			})
		}
	case "content_part.added":
		d.Annotations = e.GetPart().GetAnnotations().GetAnnotations()
	case "output_text.delta":
		d.Content = content(e.GetDelta())
	case "reasoning_text.delta":
		d.ReasoningContent = e.Delta
	case "refusal.delta":
		d.Refusal = e.Delta
	case "function_call_arguments.delta":
		d.ToolCalls = calls(&edgev1.ToolCall{Index: e.OutputIndex, Function: &edgev1.ToolCallFunction{Arguments: e.Delta}})
	}
	chunk.Choices = []*edgev1.ChatChunkChoice{choice}
	return chunk
}

// goOn is a chunk of the answer that is gathered.
func (a *answer) goOn() *edgev1.StreamChatCompletionResponse {
	return &edgev1.StreamChatCompletionResponse{Id: a.last.GetId(), Model: a.last.GetModel(), Created: a.last.GetCreated()}
}

func calls(call *edgev1.ToolCall) []*edgev1.ToolCall { return []*edgev1.ToolCall{call} }

func content(text string) *edgev1.MessageContent {
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}
}

func used(in, out, cached int32) *edgev1.Usage {
	u := &edgev1.Usage{PromptTokens: in, CompletionTokens: out, TotalTokens: in + out}
	if cached > 0 {
		u.PromptTokensDetails = &edgev1.PromptTokensDetails{CachedTokens: cached}
	}
	return u
}
