// Package usagedetail reads and writes the token classes of OpenAI's usage that the
// contract has no members for, and passes on as the engine told them. It counts and
// prices nothing. Start reading at Of.
package usagedetail

import (
	"math"
	"strconv"

	"github.com/poterne/poterne/pkg/jsonwalk"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

const (
	memberCompletion = "completion_tokens_details"
	memberReasoning  = "reasoning_tokens"
	memberAudio      = "audio_tokens"
)

// Of returns what a usage says, as the bill has it: a class has at most as many tokens
// as what it is a part of. What is missing or odd counts as 0.
func Of(u *edgev1.Usage) *commonv1.TokenUsage {
	out := &commonv1.TokenUsage{
		PromptTokens: max(u.GetPromptTokens(), 0), CompletionTokens: max(u.GetCompletionTokens(), 0),
	}
	out.CachedPromptTokens = min(max(u.GetPromptTokensDetails().GetCachedTokens(), 0), out.GetPromptTokens())
	if d := u.GetPromptTokensDetails(); d != nil {
		out.AudioPromptTokens = min(count(d.GetExtra()[memberAudio]), out.GetPromptTokens())
	}
	text, is := u.GetExtra()[memberCompletion]
	if !is {
		return out
	}
	w := jsonwalk.NewWalk([]byte(text))
	for {
		name, at, more := w.Next()
		switch {
		case !more:
			return out
		case string(name) == memberReasoning:
			out.ReasoningTokens = min(count(string(at.Of([]byte(text)))), out.GetCompletionTokens())
		case string(name) == memberAudio:
			out.AudioCompletionTokens = min(count(string(at.Of([]byte(text)))), out.GetCompletionTokens())
		}
	}
}

// Message returns a usage in OpenAI's shape; nil for nil.
func Message(u *commonv1.TokenUsage) *edgev1.Usage {
	if u == nil {
		return nil
	}
	out := &edgev1.Usage{PromptTokens: u.GetPromptTokens(), CompletionTokens: u.GetCompletionTokens()}
	Complete(out)
	if cached, audio := u.GetCachedPromptTokens(), u.GetAudioPromptTokens(); cached > 0 || audio > 0 {
		out.PromptTokensDetails = &edgev1.PromptTokensDetails{CachedTokens: cached}
		if audio > 0 {
			out.PromptTokensDetails.Extra = map[string]string{memberAudio: strconv.Itoa(int(audio))}
		}
	}
	if reasoning, audio := u.GetReasoningTokens(), u.GetAudioCompletionTokens(); reasoning > 0 || audio > 0 {
		out.Extra = map[string]string{
			memberCompletion: `{"` + memberReasoning + `":` + strconv.Itoa(int(reasoning)) + `,"` + memberAudio + `":` + strconv.Itoa(int(audio)) + `}`,
		}
	}
	return out
}

// Complete gives a usage its total where the engine told none; nil stays nil.
func Complete(u *edgev1.Usage) {
	if u != nil && u.GetTotalTokens() == 0 {
		u.TotalTokens = int32(min(max(int64(u.GetPromptTokens())+int64(u.GetCompletionTokens()), 0), math.MaxInt32))
	}
}

func count(text string) int32 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) {
		return 0
	}
	return int32(min(max(n, 0), math.MaxInt32))
}
