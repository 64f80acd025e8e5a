package responses

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
)

const (
	roleUser      = "user"
	roleAssistant = "assistant"
	typeFunction  = "function"
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
			item.Type = responseitem.Message
		}
		item.Extra = nil
		if item.GetId() == "" {
			item.Id = s.itemID(item.GetType())
		}
	}
	return items, nil
}

func (s *Server) itemID(kind string) string {
	return responseitem.Prefix(kind) + strings.ReplaceAll(s.IDs.New(), "-", "")
}

func text(s string) *edgev1.ResponseContent {
	return &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Text{Text: s}}
}

// chatRequest makes a chat completion of a response that goes on from history.
func chatRequest(req *edgev1.CreateResponseRequest, history, items []*edgev1.ResponseItem) (*edgev1.CreateChatCompletionRequest, error) {
	if req.GetBackground() {
		return nil, invalid("background", "must not be true: batches are for what can wait")
	}
	c := new(responseitem.Chat)
	if req.GetInstructions() != "" {
		c.Say(&edgev1.ChatMessage{Role: "system", Content: responseitem.Text(req.GetInstructions())})
	}
	for _, item := range history {
		if err := c.Add(item, "previous_response_id"); err != nil {
			return nil, err
		}
	}
	for i, item := range items {
		at := fmt.Sprintf("input[%d]", i)
		if req.GetInput().GetList() == nil {
			at = "input"
		}
		if err := c.Add(item, at); err != nil {
			return nil, err
		}
	}
	out := &edgev1.CreateChatCompletionRequest{
		Model: req.GetModel(), Messages: c.Messages, MaxCompletionTokens: req.MaxOutputTokens, Temperature: req.Temperature, TopP: req.TopP,
		User: req.GetUser(), SafetyIdentifier: req.GetSafetyIdentifier(), Retrieval: req.GetRetrieval(), Extra: maps.Clone(req.GetExtra()),
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
