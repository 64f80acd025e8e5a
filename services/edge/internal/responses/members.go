package responses

import (
	"bytes"
	"encoding/json"
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// memberNames are the members that a chat completion has under other names.
func memberNames() map[string]string {
	const most = "max_output_tokens"
	return map[string]string{
		"messages": "input", "max_tokens": most, "max_completion_tokens": most, "response_format": "text.format", "memory": memberConversation,
	}
}

// Members of OpenAI's that the contract does not name.
const (
	memberReasoning = "reasoning"
	memberEffort    = "reasoning_effort" // of a chat completion
	memberInclude   = "include"
	// memberConversation is the id of a conversation, or an object with it.
	memberConversation = "conversation"
)

// translate makes a chat's members of those of a response that are known here only by
// their names, and refuses what nobody here does: an answer that lacks what it was to
// be made with looks like one that has it.
func translate(extra map[string]string) error {
	for _, name := range []string{"context_management", "moderation"} {
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

// conversation takes the conversation that a response is a turn of out of what was
// given; nil: it is of none.
func (s *Server) conversation(req *edgev1.CreateResponseRequest, extra map[string]string) (*edgev1.Memory, error) {
	raw := extra[memberConversation]
	delete(extra, memberConversation)
	if raw == "" || raw == "null" {
		return nil, nil //nolint:nilnil // of none
	}
	m := &edgev1.Memory{Store: req.Store}
	var object struct {
		ID string `json:"id"`
	}
	if json.Unmarshal([]byte(raw), &m.Conversation) != nil {
		if json.Unmarshal([]byte(raw), &object) != nil {
			return nil, invalid(memberConversation, "must be an id, or an object with one")
		}
		m.Conversation = object.ID
	}
	if s.Validator.Validate(m) != nil {
		return nil, invalid(memberConversation, "the id must have 1 to 128 letters, digits, '.', '_', ':' and '-', and begin with one of the first two")
	}
	if req.GetPreviousResponseId() != "" {
		return nil, invalid(memberConversation, "cannot be given together with previous_response_id: each says what went before")
	}
	return m, nil
}
