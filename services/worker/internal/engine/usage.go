package engine

import (
	"encoding/json"
	"math"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

type usageJSON struct {
	PromptTokens     float64 `json:"prompt_tokens"`
	CompletionTokens float64 `json:"completion_tokens"`
	PromptDetails    *struct {
		CachedTokens float64 `json:"cached_tokens"`
		AudioTokens  float64 `json:"audio_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails *struct {
		ReasoningTokens float64 `json:"reasoning_tokens"`
		AudioTokens     float64 `json:"audio_tokens"`
	} `json:"completion_tokens_details"`
}

// usageOf reads OpenAI's usage object; what is missing or odd counts as 0.
func usageOf(raw []byte) *commonv1.TokenUsage {
	var u usageJSON
	if len(raw) == 0 || json.Unmarshal(raw, &u) != nil {
		return noUsage()
	}
	out := &commonv1.TokenUsage{PromptTokens: count(u.PromptTokens), CompletionTokens: count(u.CompletionTokens)}
	if u.PromptDetails != nil {
		out.CachedPromptTokens = min(count(u.PromptDetails.CachedTokens), out.GetPromptTokens())
		out.AudioPromptTokens = min(count(u.PromptDetails.AudioTokens), out.GetPromptTokens())
	}
	if d := u.CompletionDetails; d != nil {
		out.ReasoningTokens = min(count(d.ReasoningTokens), out.GetCompletionTokens())
		out.AudioCompletionTokens = min(count(d.AudioTokens), out.GetCompletionTokens())
	}
	return out
}

func count(v float64) int32 {
	return int32(min(max(v, 0), math.MaxInt32))
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return []byte(`""`)
	}
	return b
}
