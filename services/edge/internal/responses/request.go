package responses

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The kinds of items.
const (
	itemMessage   = "message"
	itemCall      = "function_call"
	itemOutput    = "function_call_output"
	itemReasoning = "reasoning"
)

const (
	roleUser      = "user"
	roleAssistant = "assistant"
	typeFunction  = "function"
	partText      = "output_text"
)

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// items are what was asked, each with an id; a text is a user's message.
func (s *Server) items(in *edgev1.ResponseInput) ([]*edgev1.ResponseItem, error) {
	var items []*edgev1.ResponseItem
	switch v := in.GetInput().(type) {
	case *edgev1.ResponseInput_Text:
		items = []*edgev1.ResponseItem{{Role: roleUser, Content: text(v.Text)}}
	case *edgev1.ResponseInput_List:
		items = v.List.GetItems()
	}
	if len(items) == 0 {
		return nil, invalid("input", "must not be empty")
	}
	for _, item := range items {
		if item.GetType() == "" {
			item.Type = itemMessage
		}
		item.Extra = nil
		if item.GetId() == "" {
			item.Id = s.itemID(item.GetType())
		}
	}
	return items, nil
}

func (s *Server) itemID(kind string) string {
	prefix := map[string]string{itemMessage: "msg_", itemCall: "fc_", itemOutput: "fco_", itemReasoning: "rs_"}[kind]
	return prefix + strings.ReplaceAll(s.IDs.New(), "-", "")
}

func text(s string) *edgev1.ResponseContent {
	return &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Text{Text: s}}
}

// chatRequest makes a chat completion of a response that goes on from history.
func chatRequest(req *edgev1.CreateResponseRequest, history, items []*edgev1.ResponseItem) (*edgev1.CreateChatCompletionRequest, error) {
	if req.GetBackground() {
		return nil, invalid("background", "must not be true: batches are for what can wait")
	}
	c := new(conversation)
	if req.GetInstructions() != "" {
		c.say(&edgev1.ChatMessage{Role: "system", Content: chatText(req.GetInstructions())})
	}
	for _, item := range history {
		if err := c.add(item, "previous_response_id"); err != nil {
			return nil, err
		}
	}
	for i, item := range items {
		at := fmt.Sprintf("input[%d]", i)
		if req.GetInput().GetList() == nil {
			at = "input"
		}
		if err := c.add(item, at); err != nil {
			return nil, err
		}
	}
	out := &edgev1.CreateChatCompletionRequest{
		Model: req.GetModel(), Messages: c.messages, MaxCompletionTokens: req.MaxOutputTokens, Temperature: req.Temperature, TopP: req.TopP,
		User: req.GetUser(), Retrieval: req.GetRetrieval(), Extra: maps.Clone(req.GetExtra()),
	}
	if out.Extra == nil {
		out.Extra = make(map[string]string)
	}
	if raw, given := req.GetText().GetExtra()["verbosity"]; given {
		out.Extra["verbosity"] = raw
	}
	if err := translate(out.GetExtra()); err != nil {
		return nil, err
	}
	if err := functions(req, out); err != nil {
		return nil, err
	}
	var err error
	out.ResponseFormat, err = format(req.GetText().GetFormat().GetJson())
	return out, err
}

// conversation is messages in the making.
type conversation struct {
	messages []*edgev1.ChatMessage
	thought  string // of the assistant's next message
}

func (c *conversation) say(m *edgev1.ChatMessage) {
	if m.GetRole() == roleAssistant && c.thought != "" {
		thought := c.thought
		m.ReasoningContent, c.thought = &thought, ""
	}
	c.messages = append(c.messages, m)
}

func (c *conversation) add(item *edgev1.ResponseItem, at string) error {
	switch item.GetType() {
	case itemMessage:
		return c.message(item, at)
	case itemCall:
		return c.call(item, at)
	case itemOutput:
		if item.GetCallId() == "" {
			return invalid(at+".call_id", "is required")
		}
		content, err := chatContent(item.GetOutput(), at+".output")
		if err != nil {
			return err
		}
		c.say(&edgev1.ChatMessage{Role: "tool", ToolCallId: item.GetCallId(), Content: content})
	case itemReasoning: // what others encrypted only they can read
		for _, p := range item.GetContent().GetParts().GetParts() {
			c.thought += p.GetText()
		}
	}
	return nil
}

func (c *conversation) message(item *edgev1.ResponseItem, at string) error {
	if item.GetRole() == "" {
		return invalid(at+".role", "is required")
	}
	content, err := chatContent(item.GetContent(), at+".content")
	if err != nil {
		return err
	}
	c.say(&edgev1.ChatMessage{Role: item.GetRole(), Content: content})
	return nil
}

// call adds a call to the assistant's message that it belongs to.
func (c *conversation) call(item *edgev1.ResponseItem, at string) error {
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
	if n := len(c.messages); n > 0 && c.messages[n-1].GetRole() == roleAssistant && c.thought == "" {
		c.messages[n-1].ToolCalls = append(c.messages[n-1].ToolCalls, call)
		return nil
	}
	c.say(&edgev1.ChatMessage{Role: roleAssistant, ToolCalls: []*edgev1.ToolCall{call}})
	return nil
}

func chatText(s string) *edgev1.MessageContent {
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: s}}
}

// chatContent makes one text of what is only text, since some models' templates
// read nothing else.
func chatContent(in *edgev1.ResponseContent, at string) (*edgev1.MessageContent, error) {
	switch v := in.GetContent().(type) {
	case *edgev1.ResponseContent_Text:
		return chatText(v.Text), nil
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
		case "input_text", partText, "text":
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
		return chatText(strings.Join(texts, "\n\n")), nil
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

func functions(req *edgev1.CreateResponseRequest, out *edgev1.CreateChatCompletionRequest) error {
	for i, t := range req.GetTools() {
		raw, err := json.Marshal(struct {
			Name        string          `json:"name"`
			Description string          `json:"description,omitempty"`
			Parameters  json.RawMessage `json:"parameters,omitempty"`
			Strict      *bool           `json:"strict,omitempty"`
		}{t.GetName(), t.GetDescription(), json.RawMessage(t.GetParameters().GetJson()), t.Strict})
		if err != nil {
			return invalid(fmt.Sprintf("tools[%d].parameters", i), "cannot be read")
		}
		out.Tools = append(out.Tools, &edgev1.Tool{Type: typeFunction, Function: &commonv1.RawJson{Json: string(raw)}})
	}
	if req.ParallelToolCalls != nil {
		out.Extra["parallel_tool_calls"] = fmt.Sprint(req.GetParallelToolCalls())
	}
	switch choice := req.GetToolChoice().GetChoice().(type) {
	case *edgev1.ResponseToolChoice_Mode:
		out.ToolChoice = &edgev1.ToolChoice{Choice: &edgev1.ToolChoice_Mode{Mode: choice.Mode}}
	case *edgev1.ResponseToolChoice_Named:
		raw, err := json.Marshal(map[string]string{"name": choice.Named.GetName()})
		if err != nil {
			return invalid("tool_choice.name", "cannot be read")
		}
		named := &edgev1.NamedToolChoice{Type: typeFunction, Function: &commonv1.RawJson{Json: string(raw)}}
		out.ToolChoice = &edgev1.ToolChoice{Choice: &edgev1.ToolChoice_Named{Named: named}}
	}
	return nil
}

// format makes the form of a chat's answer of a response's: there a schema is an
// object of its own.
func format(raw string) (*commonv1.RawJson, error) {
	if raw == "" {
		return nil, nil //nolint:nilnil // none was given
	}
	var members map[string]json.RawMessage
	var kind string
	if json.Unmarshal([]byte(raw), &members) != nil || json.Unmarshal(members["type"], &kind) != nil {
		return nil, invalid("text.format", "must be an object with a type")
	}
	switch kind {
	case "text":
		return nil, nil //nolint:nilnil // as without
	case "json_object":
		return &commonv1.RawJson{Json: `{"type":"json_object"}`}, nil
	case "json_schema":
		delete(members, "type")
		out, err := json.Marshal(map[string]any{"type": kind, kind: members})
		if err != nil {
			return nil, invalid("text.format", "cannot be read")
		}
		return &commonv1.RawJson{Json: string(out)}, nil
	default:
		return nil, invalid("text.format.type", "must be text, json_object or json_schema")
	}
}
