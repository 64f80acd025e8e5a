package auditcontent

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The bounds on what is gathered of a stream besides its texts.
const (
	maxChoices   = 128
	maxToolCalls = 256
	maxCited     = 64
)

// answer gathers what a caller gets. A stream's pieces are put together to the answer
// that they would be without a stream.
type answer struct {
	max    int
	size   int64 // of the texts, in bytes
	left   int   // room for more
	opened bool

	whole   proto.Message
	last    *edgev1.StreamChatCompletionResponse // its id, model and usage
	chats   []*chat
	text    *edgev1.CreateCompletionResponse
	texts   []*completion
	usage   *edgev1.Usage
	citedBy int
}

type chat struct {
	index                             int32
	role                              string
	content, reasoning, refusal       strings.Builder
	hasReasoning, hasRefusal, hasText bool
	annotations                       []*edgev1.Annotation
	calls                             []*toolCall
	finish                            *string
}

type toolCall struct {
	index          int32
	id, kind, name string
	arguments      strings.Builder
}

type completion struct {
	index  int32
	text   strings.Builder
	finish *string
}

// add takes a message as the caller gets it.
func (a *answer) add(message any, piece bool) {
	if !a.opened {
		a.opened, a.left = true, a.max
	}
	switch m := message.(type) {
	case *edgev1.StreamChatCompletionResponse:
		a.chunk(m)
	case *edgev1.CreateCompletionResponse:
		if piece {
			a.completion(m)
			return
		}
		a.whole = m
	case *edgev1.StreamMessageResponse:
		a.chunk(a.ofMessage(m))
	case *edgev1.ResponseEvent:
		a.chunk(a.ofResponse(m))
	case *edgev1.CreateChatCompletionResponse, *edgev1.RerankResponse, *edgev1.CreateMessageResponse, *edgev1.Response:
		a.whole, _ = m.(proto.Message)
	}
}

// take writes as much of s as there is room for.
func (a *answer) take(to *strings.Builder, s string) {
	a.size += int64(len(s))
	part := cut(s, a.left)
	if len(part) < len(s) {
		a.left = 0 // no gaps
	} else {
		a.left -= len(part)
	}
	to.WriteString(part)
}

func (a *answer) chunk(m *edgev1.StreamChatCompletionResponse) {
	a.last = &edgev1.StreamChatCompletionResponse{Id: m.GetId(), Model: m.GetModel(), Created: m.GetCreated()}
	if m.GetUsage() != nil {
		a.usage = m.GetUsage()
	}
	for _, c := range m.GetChoices() {
		to := a.choice(c.GetIndex())
		if to == nil {
			continue
		}
		d := c.GetDelta()
		if d.GetRole() != "" {
			to.role = d.GetRole()
		}
		switch content := d.GetContent().GetContent().(type) {
		case *edgev1.MessageContent_Text:
			to.hasText = true
			a.take(&to.content, content.Text)
		case *edgev1.MessageContent_Parts:
			for _, part := range content.Parts.GetParts() {
				to.hasText = true
				a.take(&to.content, part.GetText())
			}
		}
		if d.GetReasoningContent() != "" {
			to.hasReasoning = true
			a.take(&to.reasoning, d.GetReasoningContent())
		}
		if d.GetRefusal() != "" {
			to.hasRefusal = true
			a.take(&to.refusal, d.GetRefusal())
		}
		for _, call := range d.GetToolCalls() {
			a.call(to, call)
		}
		if room := maxCited - a.citedBy; room > 0 && len(d.GetAnnotations()) > 0 {
			more := d.GetAnnotations()[:min(room, len(d.GetAnnotations()))]
			to.annotations, a.citedBy = append(to.annotations, more...), a.citedBy+len(more)
		}
		if c.FinishReason != nil {
			to.finish = c.FinishReason
		}
	}
}

func (a *answer) call(to *chat, call *edgev1.ToolCall) {
	i := slices.IndexFunc(to.calls, func(t *toolCall) bool { return t.index == call.GetIndex() })
	if i < 0 {
		if len(to.calls) == maxToolCalls {
			return
		}
		to.calls, i = append(to.calls, &toolCall{index: call.GetIndex()}), len(to.calls)
	}
	t := to.calls[i]
	t.id, t.kind, t.name = t.id+cut(call.GetId(), 256-len(t.id)), t.kind+cut(call.GetType(), 64-len(t.kind)), t.name+cut(call.GetFunction().GetName(), 256-len(t.name))
	a.take(&t.arguments, call.GetFunction().GetArguments())
}

func (a *answer) choice(index int32) *chat {
	i := slices.IndexFunc(a.chats, func(c *chat) bool { return c.index == index })
	if i < 0 {
		if len(a.chats) == maxChoices {
			return nil
		}
		a.chats, i = append(a.chats, &chat{index: index}), len(a.chats)
	}
	return a.chats[i]
}

func (a *answer) completion(m *edgev1.CreateCompletionResponse) {
	a.text = &edgev1.CreateCompletionResponse{Id: m.GetId(), Object: m.GetObject(), Created: m.GetCreated(), Model: m.GetModel()}
	if m.GetUsage() != nil {
		a.usage = m.GetUsage()
	}
	for _, c := range m.GetChoices() {
		i := slices.IndexFunc(a.texts, func(t *completion) bool { return t.index == c.GetIndex() })
		if i < 0 {
			if len(a.texts) == maxChoices {
				continue
			}
			a.texts, i = append(a.texts, &completion{index: c.GetIndex()}), len(a.texts)
		}
		a.take(&a.texts[i].text, c.GetText())
		if c.FinishReason != nil {
			a.texts[i].finish = c.FinishReason
		}
	}
}

// message returns what was gathered; nil when nothing was. streamed says that its
// texts are bounded already, and size counts their bytes.
func (a *answer) message() (m proto.Message, streamed bool) {
	switch {
	case a.whole != nil:
		return a.whole, false
	case a.last != nil:
		out := &edgev1.CreateChatCompletionResponse{
			Id: a.last.GetId(), Object: "chat.completion", Created: a.last.GetCreated(), Model: a.last.GetModel(), Usage: a.usage,
		}
		for _, c := range a.chats {
			out.Choices = append(out.Choices, c.message())
		}
		return out, true
	case a.text != nil:
		a.text.Usage = a.usage
		for _, t := range a.texts {
			a.text.Choices = append(a.text.Choices, &edgev1.CompletionChoice{Index: t.index, Text: t.text.String(), FinishReason: t.finish})
		}
		return a.text, true
	default:
		return nil, false
	}
}

func (c *chat) message() *edgev1.ChatChoice {
	m := &edgev1.ChatMessage{Role: c.role, Content: new(edgev1.MessageContent), Annotations: c.annotations}
	if c.hasText {
		m.Content.Content = &edgev1.MessageContent_Text{Text: c.content.String()}
	}
	if c.hasReasoning {
		m.ReasoningContent = new(c.reasoning.String())
	}
	if c.hasRefusal {
		m.Refusal = new(c.refusal.String())
	}
	for _, t := range c.calls {
		m.ToolCalls = append(m.ToolCalls, &edgev1.ToolCall{
			Id: t.id, Type: t.kind, Function: &edgev1.ToolCallFunction{Name: t.name, Arguments: new(t.arguments.String())},
		})
	}
	return &edgev1.ChatChoice{Index: c.index, Message: m, FinishReason: c.finish}
}

// cut returns the beginning of s of at most n bytes, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n = max(n, 0); n > 0 && s[n]&0xC0 == 0x80; n-- {
	}
	return s[:n]
}
