// Package responseitem translates between the items of OpenAI's Responses and
// Conversations APIs and a chat's messages, and pages through items. It keeps nothing and
// knows neither responses nor conversations. Start reading at Chat, the way in; message.go
// is the way out.
package responseitem

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The kinds of items.
const (
	Message   = "message"
	Call      = "function_call"
	Output    = "function_call_output"
	Reasoning = "reasoning"
)

const (
	// PartText is the kind of a part that a model said, and partInput of one that it read.
	PartText  = "output_text"
	partInput = "input_text"

	roleAssistant = "assistant"
	typeFunction  = "function"
)

// Prefix is what the ids of a kind's items begin with.
func Prefix(kind string) string {
	return map[string]string{Message: "msg_", Call: "fc_", Output: "fco_", Reasoning: "rs_"}[kind]
}

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// Chat is a chat's messages in the making, which items are added to one after another.
// The zero value is ready; it must not be used by two goroutines at once.
type Chat struct {
	Messages []*edgev1.ChatMessage
	thought  string // of the assistant's next message
}

// Say adds a message. A thought is of the assistant's message right behind it, and goes
// when somebody else speaks: nothing came of it.
func (c *Chat) Say(m *edgev1.ChatMessage) {
	if thought := c.thought; m.GetRole() == roleAssistant && thought != "" {
		m.ReasoningContent = &thought
	}
	c.thought = ""
	c.Messages = append(c.Messages, m)
}

// Add adds what an item says; at is its place in the request, for what is wrong with it.
func (c *Chat) Add(item *edgev1.ResponseItem, at string) error {
	switch item.GetType() {
	case Message:
		return c.message(item, at)
	case Call:
		return c.call(item, at)
	case Output:
		if item.GetCallId() == "" {
			return invalid(at+".call_id", "is required")
		}
		content, err := chatContent(item.GetOutput(), at+".output")
		if err != nil {
			return err
		}
		c.Say(&edgev1.ChatMessage{Role: "tool", ToolCallId: item.GetCallId(), Content: content})
	case Reasoning: // what others encrypted only they can read
		for _, p := range item.GetContent().GetParts().GetParts() {
			c.thought += p.GetText()
		}
	}
	return nil
}

func (c *Chat) message(item *edgev1.ResponseItem, at string) error {
	if item.GetRole() == "" {
		return invalid(at+".role", "is required")
	}
	content, err := chatContent(item.GetContent(), at+".content")
	if err != nil {
		return err
	}
	c.Say(&edgev1.ChatMessage{Role: item.GetRole(), Content: content})
	return nil
}

// call adds a call to the assistant's message that it belongs to.
func (c *Chat) call(item *edgev1.ResponseItem, at string) error {
	if item.GetCallId() == "" {
		return invalid(at+".call_id", "is required")
	}
	if item.GetName() == "" {
		return invalid(at+".name", "is required")
	}
	arguments := item.GetArguments()
	call := &edgev1.ToolCall{
		Id: item.GetCallId(), Type: typeFunction, Function: &edgev1.ToolCallFunction{Name: item.GetName(), Arguments: &arguments},
	}
	if n := len(c.Messages); n > 0 && c.Messages[n-1].GetRole() == roleAssistant && c.thought == "" {
		c.Messages[n-1].ToolCalls = append(c.Messages[n-1].ToolCalls, call)
		return nil
	}
	c.Say(&edgev1.ChatMessage{Role: roleAssistant, ToolCalls: []*edgev1.ToolCall{call}})
	return nil
}

// Text is a message's content that is only text.
func Text(s string) *edgev1.MessageContent {
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: s}}
}

// chatContent makes one text of what is only text, since some models' templates
// read nothing else.
func chatContent(in *edgev1.ResponseContent, at string) (*edgev1.MessageContent, error) {
	switch v := in.GetContent().(type) {
	case *edgev1.ResponseContent_Text:
		return Text(v.Text), nil
	case *edgev1.ResponseContent_Parts:
		return chatParts(v.Parts.GetParts(), at)
	default:
		return nil, invalid(at, "is required")
	}
}

func chatParts(in []*edgev1.ResponsePart, at string) (*edgev1.MessageContent, error) {
	if len(in) == 0 {
		return nil, invalid(at, "must not be empty")
	}
	var texts []string
	var parts []*edgev1.ContentPart
	for i, p := range in {
		here := fmt.Sprintf("%s[%d]", at, i)
		switch p.GetType() {
		case partInput, PartText, "text":
			if p.Text == nil {
				return nil, invalid(here+".text", "is required")
			}
			texts = append(texts, p.GetText())
			parts = append(parts, &edgev1.ContentPart{Type: "text", Text: p.Text})
		case "refusal":
			texts = append(texts, p.GetRefusal())
			parts = append(parts, &edgev1.ContentPart{Type: "text", Text: p.Refusal})
		case "input_image":
			part, err := image(p, here)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		default:
			return nil, invalid(here+".type", "parts of type %q cannot be read here: input_text, input_image, output_text and refusal can", p.GetType())
		}
	}
	if len(texts) == len(parts) {
		return Text(strings.Join(texts, "\n\n")), nil
	}
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Parts{Parts: &edgev1.ContentPartList{Parts: parts}}}, nil
}

func image(p *edgev1.ResponsePart, at string) (*edgev1.ContentPart, error) {
	if p.GetImageUrl() == "" {
		return nil, invalid(at+".image_url", "is required")
	}
	raw, err := json.Marshal(struct {
		URL    string `json:"url"`
		Detail string `json:"detail,omitempty"`
	}{p.GetImageUrl(), p.GetDetail()})
	if err != nil {
		return nil, invalid(at+".image_url", "cannot be read")
	}
	return &edgev1.ContentPart{Type: "image_url", Extra: map[string]string{"image_url": string(raw)}}, nil
}
