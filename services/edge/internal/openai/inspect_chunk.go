package openai

import (
	"encoding/json"
	"slices"
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// chat works on a chunk of a conversation.
func (f *filter) chat(chunk *edgev1.StreamChatCompletionResponse) {
	if f == nil {
		return
	}
	inspectUsage(f.in, chunk.GetUsage())
	f.in.Extra(chunk.GetExtra())
	chunk.Choices = slices.DeleteFunc(chunk.GetChoices(), func(c *edgev1.ChatChunkChoice) bool { return f.ended[c.GetIndex()] })
	for _, c := range chunk.GetChoices() {
		if c.GetDelta() == nil {
			c.Delta = new(edgev1.ChatMessage)
		}
		f.delta(c.GetIndex(), c.GetDelta())
		c.Logprobs = nil // they spell the answer out
		f.in.Extra(c.GetExtra())
		if c.FinishReason != nil && !f.ended[c.GetIndex()] {
			f.finish(c)
		}
		if f.ended[c.GetIndex()] {
			c.FinishReason = filtered()
		}
	}
}

func filtered() *string {
	reason := finishFiltered
	return &reason
}

// delta works on what is new in a message.
func (f *filter) delta(choice int32, m *edgev1.ChatMessage) {
	switch c := m.GetContent().GetContent().(type) {
	case *edgev1.MessageContent_Text:
		c.Text = f.piece(textKey{choice: choice, member: memberContent}, c.Text)
	case *edgev1.MessageContent_Parts: // no engine sends a part in pieces
		for _, part := range c.Parts.GetParts() {
			part.Type, part.Text = f.in.Text(part.GetType()), f.in.Texts(part.Text)
			f.in.Extra(part.GetExtra())
		}
	}
	if m.ReasoningContent != nil {
		*m.ReasoningContent = f.piece(textKey{choice: choice, member: memberReasoning}, m.GetReasoningContent())
	}
	if m.Refusal != nil {
		*m.Refusal = f.piece(textKey{choice: choice, member: memberRefusal}, m.GetRefusal())
	}
	m.Name, m.ToolCallId = f.in.Text(m.GetName()), f.in.Text(m.GetToolCallId())
	for _, a := range m.GetAnnotations() {
		a.Title = f.in.Text(a.GetTitle())
		f.in.Extra(a.GetExtra())
	}
	for _, call := range m.GetToolCalls() { // names and ids come whole
		call.Id, call.Type = f.in.Text(call.GetId()), f.in.Text(call.GetType())
		if fn := call.GetFunction(); fn != nil {
			fn.Name = f.in.Text(fn.GetName())
		}
		if args := call.GetFunction(); args != nil && args.Arguments != nil {
			*args.Arguments = f.piece(textKey{choice: choice, member: memberArguments, call: call.GetIndex()}, args.GetArguments())
		}
		f.in.Extra(call.GetFunction().GetExtra())
		f.in.Extra(call.GetExtra())
	}
	for name, raw := range m.GetExtra() {
		m.Extra[name] = f.extra(choice, name, raw)
	}
}

// extra works on a member that the gateway does not know: a text may come piece
// by piece as well.
func (f *filter) extra(choice int32, name, raw string) string {
	var text string
	if json.Unmarshal([]byte(raw), &text) != nil {
		return f.in.JSON(raw)
	}
	return quoted(f.piece(textKey{choice: choice, member: memberExtra + name}, text))
}

func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""` // texts always encode
	}
	return string(raw)
}

// finish adds what was held back of a choice to its last delta.
func (f *filter) finish(c *edgev1.ChatChunkChoice) {
	m := c.GetDelta()
	for key, tail := range f.rest(c.GetIndex()) {
		switch key.member {
		case memberContent:
			m.Content = &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: m.GetContent().GetText() + tail}}
		case memberReasoning:
			tail = m.GetReasoningContent() + tail
			m.ReasoningContent = &tail
		case memberRefusal:
			tail = m.GetRefusal() + tail
			m.Refusal = &tail
		case memberArguments:
			addArguments(m, key.call, tail)
		default:
			name := strings.TrimPrefix(key.member, memberExtra)
			var before string
			if json.Unmarshal([]byte(m.GetExtra()[name]), &before) != nil {
				before = ""
			}
			if m.Extra == nil {
				m.Extra = make(map[string]string)
			}
			m.Extra[name] = quoted(before + tail)
		}
	}
}

func addArguments(m *edgev1.ChatMessage, index int32, tail string) {
	for _, call := range m.GetToolCalls() {
		if call.GetIndex() == index && call.GetFunction() != nil {
			tail = call.GetFunction().GetArguments() + tail
			call.Function.Arguments = &tail
			return
		}
	}
	m.ToolCalls = append(m.ToolCalls, &edgev1.ToolCall{Index: &index, Function: &edgev1.ToolCallFunction{Arguments: &tail}})
}

// chatEnd returns what was held back of the choices that an engine did not
// finish.
func (f *filter) chatEnd() []*edgev1.ChatChunkChoice {
	var out []*edgev1.ChatChunkChoice
	for _, i := range f.open() {
		c := &edgev1.ChatChunkChoice{Index: i, Delta: new(edgev1.ChatMessage)}
		f.finish(c)
		if f.ended[i] {
			c.FinishReason = filtered()
		}
		if !idle(c) {
			out = append(out, c)
		}
	}
	return out
}

// idle reports whether a part of a chunk says nothing, since all of it is held
// back.
func idle(c *edgev1.ChatChunkChoice) bool {
	m := c.GetDelta()
	return c.FinishReason == nil && m.GetRole() == "" && m.GetContent().GetText() == "" && m.GetReasoningContent() == "" &&
		m.GetRefusal() == "" && len(m.GetToolCalls()) == 0 && len(m.GetAnnotations()) == 0 && len(m.GetExtra()) == 0
}

// completion works on a chunk of a completion.
func (f *filter) completion(chunk *edgev1.CreateCompletionResponse) {
	if f == nil {
		return
	}
	inspectUsage(f.in, chunk.GetUsage())
	f.in.Extra(chunk.GetExtra())
	chunk.Choices = slices.DeleteFunc(chunk.GetChoices(), func(c *edgev1.CompletionChoice) bool { return f.ended[c.GetIndex()] })
	for _, c := range chunk.GetChoices() {
		i := c.GetIndex()
		c.Text = f.piece(textKey{choice: i, member: memberText}, c.GetText())
		c.Logprobs = nil
		f.in.Extra(c.GetExtra())
		if c.FinishReason != nil && !f.ended[i] {
			c.Text += f.rest(i)[textKey{choice: i, member: memberText}]
		}
		if f.ended[i] {
			c.FinishReason = filtered()
		}
	}
}

// completionEnd is chatEnd for a completion.
func (f *filter) completionEnd() []*edgev1.CompletionChoice {
	var out []*edgev1.CompletionChoice
	for _, i := range f.open() {
		c := &edgev1.CompletionChoice{Index: i, Text: f.rest(i)[textKey{choice: i, member: memberText}]}
		if f.ended[i] {
			c.FinishReason = filtered()
		}
		if c.Text != "" || c.FinishReason != nil {
			out = append(out, c)
		}
	}
	return out
}
