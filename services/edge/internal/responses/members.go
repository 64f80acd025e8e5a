package responses

import (
	"bytes"
	"encoding/json"
	"strings"
)

// memberNames are the members that a chat completion has under other names.
func memberNames() map[string]string {
	const most = "max_output_tokens"
	return map[string]string{"messages": "input", "max_tokens": most, "max_completion_tokens": most, "response_format": "text.format"}
}

// Members of OpenAI's that the contract does not name.
const (
	memberReasoning = "reasoning"
	memberEffort    = "reasoning_effort" // of a chat completion
	memberInclude   = "include"
)

// translate makes a chat's members of those of a response that are known here only by
// their names, and refuses what nobody here does: an answer that lacks what it was to
// be made with looks like one that has it.
func translate(extra map[string]string) error {
	for _, name := range []string{"conversation", "context_management", "moderation"} {
		if raw, given := extra[name]; given && raw != "null" {
			return invalid(name, "cannot be done here")
		}
		delete(extra, name)
	}
	if strings.Contains(extra[memberInclude], `"message.output_text.logprobs"`) {
		return invalid(memberInclude, "log probabilities cannot be told: the answer has no place for them; ask for a chat completion")
	}
	delete(extra, memberInclude) // what else there is is of OpenAI's own tools, or encrypted, which nothing is here
	raw, given := extra[memberReasoning]
	if !given {
		return nil
	}
	delete(extra, memberReasoning)
	var reasoning struct {
		Effort json.RawMessage `json:"effort"`
	}
	if json.Unmarshal([]byte(raw), &reasoning) != nil {
		return invalid(memberReasoning, "must be an object")
	}
	if _, own := extra[memberEffort]; !own && len(reasoning.Effort) > 0 && !bytes.Equal(reasoning.Effort, []byte("null")) {
		extra[memberEffort] = string(reasoning.Effort)
	}
	return nil
}
