package engine

import "encoding/json"

// uncountedBytes is how many bytes a token is taken to have where nobody counted: of
// English some four letters.
const uncountedBytes = 4

// estimatedTokens is how many tokens an answer's choices have, by the bytes of what was
// generated: of engines that tell no usage. It is of chats and of completions.
func estimatedTokens(choices []byte) int32 {
	type generated struct {
		Content   generatedText `json:"content"`
		Thoughts  generatedText `json:"reasoning_content"`
		Refusal   generatedText `json:"refusal"`
		ToolCalls []struct {
			Function struct {
				Name      generatedText `json:"name"`
				Arguments generatedText `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
	}
	var all []struct {
		Text    generatedText `json:"text"`
		Message generated     `json:"message"`
	}
	_ = json.Unmarshal(choices, &all) // a member of another type leaves the others as they are
	n := 0
	for _, c := range all {
		m := c.Message
		of := len(c.Text) + len(m.Content) + len(m.Thoughts) + len(m.Refusal)
		for _, call := range m.ToolCalls {
			of += len(call.Function.Name) + len(call.Function.Arguments)
		}
		n += (of + uncountedBytes - 1) / uncountedBytes
	}
	return count(float64(n))
}

// generatedText is a string that may be something else, which counts as none.
type generatedText string

// UnmarshalJSON takes a string and passes over every other value.
func (t *generatedText) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = generatedText(s)
	}
	return nil
}
