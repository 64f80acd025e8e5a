package openai

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// What OpenAI's documentation defines is checked here, so that a request that is
// wrong there is told the member at fault and not an engine's words. What it
// does not define is the engine's to judge.

// checkChat returns what is wrong with a conversation and its options.
func checkChat(req *edgev1.CreateChatCompletionRequest) error {
	for i, m := range req.GetMessages() {
		if err := checkMessage(m, i); err != nil {
			return err
		}
	}
	if req.TopLogprobs != nil && !req.GetLogprobs() {
		return invalid("top_logprobs", "is only allowed together with \"logprobs\": true")
	}
	if err := checkTools(req); err != nil {
		return err
	}
	if err := checkFormat(req.GetResponseFormat().GetJson()); err != nil {
		return err
	}
	return checkBias(req.GetExtra())
}

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// checkMessage checks the message at an index, which is only named where it is wrong or
// is of parts.
func checkMessage(m *edgev1.ChatMessage, i int) error {
	field := func(name string) string { return fmt.Sprintf("messages[%d].%s", i, name) }
	if m.GetRole() == "" {
		return invalid(field("role"), "is required")
	}
	switch content := m.GetContent().GetContent().(type) {
	case *edgev1.MessageContent_Text:
		return nil
	case *edgev1.MessageContent_Parts:
		return checkParts(content.Parts.GetParts(), field("content"))
	}
	if mayBeSilent(m) {
		return nil
	}
	return invalid(field("content"), "is required")
}

// mayBeSilent reports whether a message may be without content: one of the
// assistant's that calls something or refused, or an answer of an old function.
func mayBeSilent(m *edgev1.ChatMessage) bool {
	switch m.GetRole() {
	case "function":
		return true
	case "assistant":
		_, calls := m.GetExtra()["function_call"]
		_, speaks := m.GetExtra()["audio"]
		return len(m.GetToolCalls()) > 0 || m.Refusal != nil || m.ReasoningContent != nil || calls || speaks
	default:
		return false
	}
}

func checkParts(parts []*edgev1.ContentPart, field string) error {
	if len(parts) == 0 {
		return invalid(field, "must not be empty")
	}
	for i, p := range parts {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch kind := p.GetType(); kind {
		case "text":
			if p.Text == nil {
				return invalid(at+".text", "is required")
			}
		case "image_url", "input_audio", "file":
			if _, ok := object(p.GetExtra()[kind]); !ok {
				return invalid(at+"."+kind, "must be an object")
			}
		}
	}
	return nil
}

// toolName reports whether a function may be called so.
func toolName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
	return name != "" && len(name) <= 128 && strings.Trim(name, letters) == ""
}

const nameRule = "must be 1 to 128 letters, digits, _, . or -"

func checkTools(req *edgev1.CreateChatCompletionRequest) error {
	named := make(map[string]bool, len(req.GetTools()))
	for i, tool := range req.GetTools() {
		field := fmt.Sprintf("tools[%d]", i)
		switch tool.GetType() {
		case toolFunction:
			name, err := checkFunction(tool.GetFunction().GetJson(), field+".function")
			if err != nil {
				return err
			}
			named[name] = true
		case "custom":
			if _, ok := object(tool.GetExtra()["custom"]); !ok {
				return invalid(field+".custom", "must be an object")
			}
		default:
			return invalid(field+".type", "must be one of: function, custom")
		}
	}
	return checkToolChoice(req.GetToolChoice(), len(req.GetTools()), named)
}

const toolFunction = "function"

func checkFunction(raw, field string) (name string, err error) {
	function, ok := object(raw)
	if !ok {
		return "", invalid(field, "must be an object with a name")
	}
	if json.Unmarshal(function["name"], &name) != nil || !toolName(name) {
		return "", invalid(field+".name", nameRule)
	}
	if p := function["parameters"]; !null(p) {
		if _, ok := object(string(p)); !ok {
			return "", invalid(field+".parameters", "must be a JSON schema, an object")
		}
	}
	if !is[string](function["description"]) {
		return "", invalid(field+".description", "must be a string")
	}
	if !is[bool](function["strict"]) {
		return "", invalid(field+".strict", "must be true or false")
	}
	return name, nil
}

func checkToolChoice(choice *edgev1.ToolChoice, tools int, named map[string]bool) error {
	const field = "tool_choice"
	switch c := choice.GetChoice().(type) {
	case *edgev1.ToolChoice_Mode:
		switch {
		case c.Mode != "none" && c.Mode != "auto" && c.Mode != "required":
			return invalid(field, "must be one of: none, auto, required, or an object that names a tool")
		case c.Mode == "required" && tools == 0:
			return invalid(field, "is only allowed together with tools")
		}
	case *edgev1.ToolChoice_Named:
		if c.Named.GetType() != toolFunction {
			if tools == 0 {
				return invalid(field, "is only allowed together with tools")
			}
			return nil // custom tools, and what is allowed of several
		}
		function, ok := object(c.Named.GetFunction().GetJson())
		var name string
		if !ok || json.Unmarshal(function["name"], &name) != nil || name == "" {
			return invalid(field+".function.name", "is required")
		}
		if !named[name] {
			return invalid(field+".function.name", "is not the name of one of the tools")
		}
	}
	return nil
}

// checkFormat checks response_format. Whether a schema can be followed is the
// engine's to judge.
func checkFormat(raw string) error {
	const field = "response_format"
	if raw == "" || raw == "null" {
		return nil
	}
	format, ok := object(raw)
	if !ok {
		return invalid(field, "must be an object with a type")
	}
	var kind string
	_ = json.Unmarshal(format["type"], &kind)
	switch kind {
	case "text", "json_object", "structural_tag": // the last is vLLM's
		return nil
	case "json_schema":
	default:
		return invalid(field+".type", "must be one of: text, json_object, json_schema")
	}
	schema, ok := object(string(format["json_schema"]))
	if !ok {
		return invalid(field+".json_schema", "must be an object with a name and a schema")
	}
	if !is[string](schema["name"]) {
		return invalid(field+".json_schema.name", "must be a string")
	}
	if s := schema["schema"]; !null(s) {
		if _, ok := object(string(s)); !ok {
			return invalid(field+".json_schema.schema", "must be a JSON schema, an object")
		}
	}
	return nil
}

// checkBias checks logit_bias; llama-server's own form, a list, is let through.
func checkBias(extra map[string]string) error {
	const field = "logit_bias"
	raw := json.RawMessage(extra[field])
	if null(raw) || raw[0] == '[' {
		return nil
	}
	bias, ok := object(string(raw))
	if !ok {
		return invalid(field, "must be an object of token ids and numbers from -100 to 100")
	}
	for token, value := range bias {
		var v float64
		if string(value) == "false" {
			continue // llama-server's: never
		}
		if null(value) || json.Unmarshal(value, &v) != nil || math.Abs(v) > 100 {
			return apierr.Invalid(field, "%s: the value of token %.32q must be a number from -100 to 100", field, token)
		}
	}
	return nil
}

// checkCompletion returns what is wrong with the prompt and what else OpenAI
// defines of the older API.
func checkCompletion(req *edgev1.CreateCompletionRequest) error {
	if err := checkPrompt(req.GetPrompt()); err != nil {
		return err
	}
	if raw := json.RawMessage(req.GetExtra()["logprobs"]); !null(raw) {
		var n float64
		if json.Unmarshal(raw, &n) != nil || n != math.Trunc(n) || n < 0 || n > maxLegacyLogprobs {
			return invalid("logprobs", "must be a whole number from 0 to %d", maxLegacyLogprobs)
		}
	}
	return checkBias(req.GetExtra())
}

// maxLegacyLogprobs is the most likely tokens at each place that are told.
const maxLegacyLogprobs = 20

func checkPrompt(prompt *edgev1.TextInput) error {
	const field = "prompt"
	switch p := prompt.GetInput().(type) {
	case *edgev1.TextInput_Text:
		return nil
	case *edgev1.TextInput_List:
		_, err := listInputs(p.List.GetItems(), field)
		return err
	default:
		return invalid(field, "is required")
	}
}

// object returns the members of a JSON object.
func object(raw string) (map[string]json.RawMessage, bool) {
	var out map[string]json.RawMessage
	err := json.Unmarshal([]byte(raw), &out)
	return out, err == nil && out != nil
}

func null(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// is reports whether raw is missing, null, or a T.
func is[T any](raw json.RawMessage) bool {
	var v T
	return null(raw) || json.Unmarshal(raw, &v) == nil
}
