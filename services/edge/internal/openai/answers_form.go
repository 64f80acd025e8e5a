package openai

import (
	"bytes"
	"maps"
	"slices"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// assemble makes the whole answer of a stream's chunks; false where that would not
// be exactly what the engine answers as a whole.
func (s *Server) assemble(c call, chunks [][]byte) ([][]byte, bool) {
	var body []byte
	var err error
	if c.operation == workerv1.Operation_OPERATION_CHAT {
		out, ok := s.assembleChat(chunks)
		if !ok {
			return nil, false
		}
		body, err = s.Codec.Marshal(out)
	} else {
		out, ok := s.assembleCompletion(chunks)
		if !ok {
			return nil, false
		}
		body, err = s.Codec.Marshal(out)
	}
	return [][]byte{body}, err == nil
}

// split makes a stream's chunks of a whole answer; false where nobody would take
// them for a stream's.
func (s *Server) split(c call, chunks [][]byte) ([][]byte, bool) {
	if len(chunks) != 1 {
		return nil, false
	}
	if c.operation == workerv1.Operation_OPERATION_CHAT {
		return s.splitChat(chunks[0])
	}
	return s.splitCompletion(chunks[0])
}

func (s *Server) assembleChat(chunks [][]byte) (*edgev1.CreateChatCompletionResponse, bool) {
	out := &edgev1.CreateChatCompletionResponse{Object: objectChat}
	choices := make(map[int32]*edgev1.ChatChoice)
	for _, raw := range chunks {
		chunk := new(edgev1.StreamChatCompletionResponse)
		if s.Codec.Unmarshal(raw, chunk) != nil {
			return nil, false
		}
		if out.Created == 0 {
			out.Id, out.Created, out.Model = chunk.GetId(), chunk.GetCreated(), chunk.GetModel()
		}
		if chunk.GetUsage() != nil {
			out.Usage = chunk.GetUsage()
		}
		out.Extra = merge(out.GetExtra(), chunk.GetExtra())
		for _, piece := range chunk.GetChoices() {
			choice := choices[piece.GetIndex()]
			if choice == nil {
				choice = &edgev1.ChatChoice{Index: piece.GetIndex(), Message: new(edgev1.ChatMessage)}
				choices[piece.GetIndex()] = choice
			}
			if !addChat(choice, piece) {
				return nil, false
			}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(choices)) {
		if choices[i].FinishReason == nil {
			return nil, false
		}
		out.Choices = append(out.Choices, choices[i])
	}
	return out, len(choices) > 0
}

// addChat adds a piece to a choice, if it is nothing but text.
func addChat(choice *edgev1.ChatChoice, piece *edgev1.ChatChunkChoice) bool {
	d, m := piece.GetDelta(), choice.GetMessage()
	if !isNull(piece.GetLogprobs().GetJson()) || len(d.GetToolCalls()) > 0 || len(d.GetAnnotations()) > 0 || len(d.GetExtra()) > 0 ||
		d.GetName() != "" || d.GetToolCallId() != "" {
		return false
	}
	if d.GetRole() != "" {
		m.Role = d.GetRole()
	}
	switch text := d.GetContent().GetContent().(type) {
	case nil:
	case *edgev1.MessageContent_Text:
		m.Content = &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: m.GetContent().GetText() + text.Text}}
	default:
		return false
	}
	m.ReasoningContent = joined(m.ReasoningContent, d.ReasoningContent)
	m.Refusal = joined(m.Refusal, d.Refusal)
	if piece.FinishReason != nil {
		choice.FinishReason = piece.FinishReason
	}
	choice.Extra = merge(choice.GetExtra(), piece.GetExtra())
	return true
}

func joined(a, b *string) *string {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	text := *a + *b
	return &text
}

// merge returns members, of which what came later holds.
func merge(into, more map[string]string) map[string]string {
	if len(more) == 0 {
		return into
	}
	if into == nil {
		into = make(map[string]string, len(more))
	}
	maps.Copy(into, more)
	return into
}

func isNull(raw string) bool { return raw == "" || raw == "null" }

func (s *Server) splitChat(body []byte) ([][]byte, bool) {
	whole := new(edgev1.CreateChatCompletionResponse)
	if s.Codec.Unmarshal(body, whole) != nil || len(whole.GetChoices()) == 0 {
		return nil, false
	}
	var out []*edgev1.StreamChatCompletionResponse
	chunk := func(choice *edgev1.ChatChunkChoice) {
		out = append(out, &edgev1.StreamChatCompletionResponse{
			Id: whole.GetId(), Object: objectChatChunk, Created: whole.GetCreated(), Model: whole.GetModel(), Choices: []*edgev1.ChatChunkChoice{choice},
		})
	}
	for _, c := range whole.GetChoices() {
		if c.FinishReason == nil || !isNull(c.GetLogprobs().GetJson()) || len(c.GetMessage().GetToolCalls()) > 0 || len(c.GetMessage().GetExtra()) > 0 {
			return nil, false
		}
		chunk(&edgev1.ChatChunkChoice{Index: c.GetIndex(), Delta: c.GetMessage()})
		chunk(&edgev1.ChatChunkChoice{Index: c.GetIndex(), Delta: new(edgev1.ChatMessage), FinishReason: c.FinishReason, Extra: c.GetExtra()})
	}
	out[len(out)-1].Extra = whole.GetExtra()
	if whole.GetUsage() != nil {
		out = append(out, &edgev1.StreamChatCompletionResponse{
			Id: whole.GetId(), Object: objectChatChunk, Created: whole.GetCreated(), Model: whole.GetModel(), Usage: whole.GetUsage(),
		})
	}
	return marshalAll(s, out)
}

func (s *Server) assembleCompletion(chunks [][]byte) (*edgev1.CreateCompletionResponse, bool) {
	out := &edgev1.CreateCompletionResponse{Object: objectCompletion}
	choices := make(map[int32]*edgev1.CompletionChoice)
	for _, raw := range chunks {
		chunk := new(edgev1.CreateCompletionResponse)
		if s.Codec.Unmarshal(raw, chunk) != nil {
			return nil, false
		}
		if out.Created == 0 {
			out.Id, out.Created, out.Model = chunk.GetId(), chunk.GetCreated(), chunk.GetModel()
		}
		if chunk.GetUsage() != nil {
			out.Usage = chunk.GetUsage()
		}
		out.Extra = merge(out.GetExtra(), chunk.GetExtra())
		for _, piece := range chunk.GetChoices() {
			choice := choices[piece.GetIndex()]
			if choice == nil {
				choice = &edgev1.CompletionChoice{Index: piece.GetIndex()}
				choices[piece.GetIndex()] = choice
			}
			if !isNull(piece.GetLogprobs().GetJson()) {
				return nil, false
			}
			choice.Text += piece.GetText()
			if piece.FinishReason != nil {
				choice.FinishReason = piece.FinishReason
			}
			choice.Extra = merge(choice.GetExtra(), piece.GetExtra())
		}
	}
	for _, i := range slices.Sorted(maps.Keys(choices)) {
		if choices[i].FinishReason == nil {
			return nil, false
		}
		out.Choices = append(out.Choices, choices[i])
	}
	return out, len(choices) > 0
}

func (s *Server) splitCompletion(body []byte) ([][]byte, bool) {
	whole := new(edgev1.CreateCompletionResponse)
	if s.Codec.Unmarshal(body, whole) != nil || len(whole.GetChoices()) == 0 {
		return nil, false
	}
	var out []*edgev1.CreateCompletionResponse
	for _, c := range whole.GetChoices() {
		if c.FinishReason == nil || !isNull(c.GetLogprobs().GetJson()) {
			return nil, false
		}
		out = append(out, &edgev1.CreateCompletionResponse{
			Id: whole.GetId(), Object: objectCompletion, Created: whole.GetCreated(), Model: whole.GetModel(), Choices: []*edgev1.CompletionChoice{c},
		})
	}
	out[len(out)-1].Extra = whole.GetExtra()
	if whole.GetUsage() != nil {
		out = append(out, &edgev1.CreateCompletionResponse{
			Id: whole.GetId(), Object: objectCompletion, Created: whole.GetCreated(), Model: whole.GetModel(), Usage: whole.GetUsage(),
		})
	}
	return marshalAll(s, out)
}

// ending is how an answer ended: the finish reasons of its choices, and whether it
// calls tools.
type ending struct {
	finish map[int32]string
	tools  bool
}

// end reads how an answer ended, whole or as a stream; false where that cannot be
// read.
func (s *Server) end(c call, chunks [][]byte) (ending, bool) {
	out := ending{finish: make(map[int32]string)}
	note := func(index int32, reason *string) {
		if _, known := out.finish[index]; !known || reason != nil {
			out.finish[index] = deref(reason)
		}
	}
	for _, raw := range chunks {
		out.tools = out.tools || bytes.Contains(raw, []byte(`"function_call":{`))
		if c.operation != workerv1.Operation_OPERATION_CHAT {
			chunk := new(edgev1.CreateCompletionResponse)
			if s.Codec.Unmarshal(raw, chunk) != nil {
				return out, false
			}
			for _, choice := range chunk.GetChoices() {
				note(choice.GetIndex(), choice.FinishReason)
			}
			continue
		}
		// A whole answer's choices read as a chunk's, but for their messages.
		chunk, whole := new(edgev1.StreamChatCompletionResponse), new(edgev1.CreateChatCompletionResponse)
		if s.Codec.Unmarshal(raw, chunk) != nil || s.Codec.Unmarshal(raw, whole) != nil {
			return out, false
		}
		for i, choice := range chunk.GetChoices() {
			note(choice.GetIndex(), choice.FinishReason)
			out.tools = out.tools || len(choice.GetDelta().GetToolCalls()) > 0 || len(whole.GetChoices()[i].GetMessage().GetToolCalls()) > 0
		}
	}
	return out, true
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
