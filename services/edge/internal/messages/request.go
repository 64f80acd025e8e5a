package messages

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The kinds of blocks that can be translated.
const (
	blockText     = "text"
	blockImage    = "image"
	blockToolUse  = "tool_use"
	blockResult   = "tool_result"
	blockThinking = "thinking"
	blockRedacted = "redacted_thinking"
)

const (
	roleUser      = "user"
	roleAssistant = "assistant"
	toolFunction  = "function"
)

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// chatRequest makes a chat completion of a message.
func chatRequest(req *edgev1.CreateMessageRequest) (*edgev1.CreateChatCompletionRequest, error) {
	messages, err := conversation(req.GetSystem(), req.GetMessages())
	if err != nil {
		return nil, err
	}
	tools, err := chatTools(req.GetTools())
	if err != nil {
		return nil, err
	}
	choice, err := toolChoice(req.GetToolChoice())
	if err != nil {
		return nil, err
	}
	out := &edgev1.CreateChatCompletionRequest{
		Model: req.GetModel(), Messages: messages, MaxTokens: &req.MaxTokens, Temperature: req.Temperature, TopP: req.TopP,
		Tools: tools, ToolChoice: choice, User: req.GetMetadata().GetUserId(), Retrieval: req.GetRetrieval(), Extra: maps.Clone(req.GetExtra()),
	}
	if len(req.GetStopSequences()) > 0 {
		out.Stop = &edgev1.StopSequences{Stop: &edgev1.StopSequences_List{List: &edgev1.StopSequenceList{Sequences: req.GetStopSequences()}}}
	}
	if out.ResponseFormat, err = responseFormat(out.GetExtra()); err != nil {
		return nil, err
	}
	delete(out.Extra, memberCacheControl)
	if req.TopK != nil {
		add(&out.Extra, "top_k", strconv.Itoa(int(req.GetTopK())))
	}
	if req.GetToolChoice() != nil && req.GetToolChoice().DisableParallelToolUse != nil {
		add(&out.Extra, "parallel_tool_calls", strconv.FormatBool(!req.GetToolChoice().GetDisableParallelToolUse()))
	}
	return out, nil
}

// Members of Anthropic's that the contract does not name.
const (
	memberOutput       = "output_config"
	memberMemory       = "memory"        // of a chat
	memberCacheControl = "cache_control" // engines keep their prefix cache by themselves
)

// responseFormat takes the form of the answer out of what Anthropic calls its
// output; what else is said there stays.
func responseFormat(extra map[string]string) (*commonv1.RawJson, error) {
	raw, given := extra[memberOutput]
	if !given {
		return nil, nil //nolint:nilnil // none was given
	}
	var output map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw), &output); err != nil {
		return nil, invalid(memberOutput, "must be an object")
	}
	var format struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	if len(output["format"]) == 0 || string(output["format"]) == "null" {
		return nil, nil //nolint:nilnil // nor here
	}
	if err := json.Unmarshal(output["format"], &format); err != nil || format.Type != "json_schema" || len(format.Schema) == 0 {
		return nil, invalid(memberOutput+".format", "must be of type json_schema and have a schema")
	}
	delete(output, "format")
	delete(extra, memberOutput)
	if len(output) > 0 {
		rest, err := json.Marshal(output)
		if err != nil {
			return nil, invalid(memberOutput, "cannot be read")
		}
		extra[memberOutput] = string(rest)
	}
	type schema struct {
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	}
	out, err := json.Marshal(struct {
		Type   string `json:"type"`
		Schema schema `json:"json_schema"`
	}{"json_schema", schema{"answer", true, format.Schema}})
	if err != nil {
		return nil, invalid(memberOutput+".format", "cannot be read")
	}
	return &commonv1.RawJson{Json: string(out)}, nil
}

// add adds a parameter that the gateway does not know.
func add(extra *map[string]string, name, value string) {
	if *extra == nil {
		*extra = make(map[string]string)
	}
	(*extra)[name] = value
}

func conversation(system *edgev1.MessageBlocks, in []*edgev1.InputMessage) ([]*edgev1.ChatMessage, error) {
	out := make([]*edgev1.ChatMessage, 0, len(in)+1)
	if system != nil {
		text, err := onlyText(system, "system")
		if err != nil {
			return nil, err
		}
		if text != "" {
			out = append(out, said("system", text))
		}
	}
	for i, m := range in {
		at := fmt.Sprintf("messages.%d", i) // as Anthropic writes paths
		var err error
		if m.GetRole() == roleAssistant {
			out, err = assistant(out, m.GetContent(), at+".content")
		} else {
			out, err = user(out, m.GetContent(), at+".content")
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func said(role, text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}}
}

// onlyText reads what may have no other blocks than of text; these are paragraphs.
func onlyText(in *edgev1.MessageBlocks, at string) (string, error) {
	if t, ok := in.GetContent().(*edgev1.MessageBlocks_Text); ok {
		return t.Text, nil
	}
	texts := make([]string, 0, len(in.GetBlocks().GetBlocks()))
	for i, b := range in.GetBlocks().GetBlocks() {
		if b.GetType() != blockText || b.Text == nil {
			return "", invalid(fmt.Sprintf("%s.%d", at, i), "must be a block of type text")
		}
		texts = append(texts, b.GetText())
	}
	return strings.Join(texts, "\n\n"), nil
}

// user adds a user's message: what tools said comes first, as messages of their own.
func user(out []*edgev1.ChatMessage, in *edgev1.MessageBlocks, at string) ([]*edgev1.ChatMessage, error) {
	if t, ok := in.GetContent().(*edgev1.MessageBlocks_Text); ok {
		return append(out, said(roleUser, t.Text)), nil
	}
	blocks := in.GetBlocks().GetBlocks()
	if len(blocks) == 0 {
		return nil, invalid(at, "must not be empty")
	}
	var parts []*edgev1.ContentPart
	for i, b := range blocks {
		here := fmt.Sprintf("%s.%d", at, i)
		if b.GetType() == blockResult {
			if len(parts) > 0 {
				return nil, invalid(here, "must stand before the blocks of other types")
			}
			m, err := toolResult(b, here)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
			continue
		}
		p, err := part(b, here)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	if len(parts) > 0 {
		out = append(out, &edgev1.ChatMessage{Role: roleUser, Content: content(parts)})
	}
	return out, nil
}

// content makes one text of what is only text, since some models' templates read
// nothing else.
func content(parts []*edgev1.ContentPart) *edgev1.MessageContent {
	texts := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.GetType() != blockText {
			return &edgev1.MessageContent{Content: &edgev1.MessageContent_Parts{Parts: &edgev1.ContentPartList{Parts: parts}}}
		}
		texts = append(texts, p.GetText())
	}
	return &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: strings.Join(texts, "\n\n")}}
}

func part(b *edgev1.MessageBlock, at string) (*edgev1.ContentPart, error) {
	switch b.GetType() {
	case blockText:
		if b.Text == nil {
			return nil, invalid(at+".text", "is required")
		}
		return &edgev1.ContentPart{Type: blockText, Text: b.Text}, nil
	case blockImage:
		address, err := imageURL(b.GetSource(), at+".source")
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(map[string]string{"url": address})
		if err != nil {
			return nil, invalid(at+".source", "cannot be read")
		}
		return &edgev1.ContentPart{Type: "image_url", Extra: map[string]string{"image_url": string(raw)}}, nil
	default:
		return nil, invalid(at+".type", "blocks of type %q cannot be read here: text and image can", b.GetType())
	}
}

func imageURL(s *edgev1.ImageSource, at string) (string, error) {
	switch {
	case s == nil:
		return "", invalid(at, "is required")
	case s.GetType() == "url" && s.GetUrl() == "":
		return "", invalid(at+".url", "is required")
	case s.GetType() == "url":
		return s.GetUrl(), nil
	case s.GetMediaType() == "" || s.GetData() == "":
		return "", invalid(at, "needs media_type and data")
	default:
		return "data:" + s.GetMediaType() + ";base64," + s.GetData(), nil
	}
}

func toolResult(b *edgev1.MessageBlock, at string) (*edgev1.ChatMessage, error) {
	if b.GetToolUseId() == "" {
		return nil, invalid(at+".tool_use_id", "is required")
	}
	m := said("tool", b.GetContent().GetText())
	m.ToolCallId = b.GetToolUseId()
	if b.GetContent().GetBlocks() == nil {
		return m, nil
	}
	parts := make([]*edgev1.ContentPart, 0, len(b.GetContent().GetBlocks().GetBlocks()))
	for i, inner := range b.GetContent().GetBlocks().GetBlocks() {
		p, err := part(inner, fmt.Sprintf("%s.content.%d", at, i))
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	m.Content = content(parts)
	return m, nil
}

// assistant adds a message of the model's own: its texts, its thoughts and the
// tools that it called.
func assistant(out []*edgev1.ChatMessage, in *edgev1.MessageBlocks, at string) ([]*edgev1.ChatMessage, error) {
	if t, ok := in.GetContent().(*edgev1.MessageBlocks_Text); ok {
		return append(out, said(roleAssistant, t.Text)), nil
	}
	m := &edgev1.ChatMessage{Role: roleAssistant}
	var texts, thoughts []string
	for i, b := range in.GetBlocks().GetBlocks() {
		here := fmt.Sprintf("%s.%d", at, i)
		switch b.GetType() {
		case blockText:
			if b.Text == nil {
				return nil, invalid(here+".text", "is required")
			}
			texts = append(texts, b.GetText())
		case blockThinking:
			thoughts = append(thoughts, b.GetThinking())
		case blockRedacted: // only its maker can read it
		case blockToolUse:
			call, err := toolCall(b, here)
			if err != nil {
				return nil, err
			}
			m.ToolCalls = append(m.ToolCalls, call)
		default:
			return nil, invalid(here+".type", "an assistant's block cannot be of type %q", b.GetType())
		}
	}
	if len(thoughts) > 0 {
		thought := strings.Join(thoughts, "\n\n")
		m.ReasoningContent = &thought
	}
	if len(texts) > 0 || len(m.GetToolCalls()) == 0 && m.ReasoningContent == nil {
		m.Content = said(roleAssistant, strings.Join(texts, "")).GetContent()
	}
	return append(out, m), nil
}

func toolCall(b *edgev1.MessageBlock, at string) (*edgev1.ToolCall, error) {
	if b.GetId() == "" {
		return nil, invalid(at+".id", "is required")
	}
	if b.GetName() == "" {
		return nil, invalid(at+".name", "is required")
	}
	arguments := "{}"
	if b.GetInput() != nil {
		arguments = b.GetInput().GetJson()
		if !strings.HasPrefix(strings.TrimSpace(arguments), "{") {
			return nil, invalid(at+".input", "must be an object")
		}
	}
	return &edgev1.ToolCall{Id: b.GetId(), Type: toolFunction, Function: &edgev1.ToolCallFunction{Name: b.GetName(), Arguments: &arguments}}, nil
}

func chatTools(in []*edgev1.MessageTool) ([]*edgev1.Tool, error) {
	out := make([]*edgev1.Tool, 0, len(in))
	for i, t := range in {
		raw, err := json.Marshal(struct {
			Name        string          `json:"name"`
			Description string          `json:"description,omitempty"`
			Parameters  json.RawMessage `json:"parameters"`
		}{t.GetName(), t.GetDescription(), json.RawMessage(t.GetInputSchema().GetJson())})
		if err != nil {
			return nil, invalid(fmt.Sprintf("tools.%d.input_schema", i), "cannot be read")
		}
		out = append(out, &edgev1.Tool{Type: toolFunction, Function: &commonv1.RawJson{Json: string(raw)}})
	}
	return out, nil
}

func toolChoice(in *edgev1.MessageToolChoice) (*edgev1.ToolChoice, error) {
	if in == nil {
		return nil, nil //nolint:nilnil // none was given
	}
	mode := in.GetType()
	switch mode {
	case "any":
		mode = "required"
	case "tool":
		if in.GetName() == "" {
			return nil, invalid("tool_choice.name", "is required for the type tool")
		}
		raw, err := json.Marshal(map[string]string{"name": in.GetName()})
		if err != nil {
			return nil, invalid("tool_choice.name", "cannot be read")
		}
		named := &edgev1.NamedToolChoice{Type: toolFunction, Function: &commonv1.RawJson{Json: string(raw)}}
		return &edgev1.ToolChoice{Choice: &edgev1.ToolChoice_Named{Named: named}}, nil
	}
	return &edgev1.ToolChoice{Choice: &edgev1.ToolChoice_Mode{Mode: mode}}, nil
}
