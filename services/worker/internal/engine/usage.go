package engine

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/poterne/poterne/pkg/jsonwalk"
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
	if out := plainUsage(raw); out != nil {
		return out
	}
	return decodedUsage(raw)
}

// decodedUsage is what plainUsage must agree with.
func decodedUsage(raw []byte) *commonv1.TokenUsage {
	var u usageJSON
	if len(raw) == 0 {
		return noUsage()
	}
	// A member of another type leaves the others as they are.
	if err := json.Unmarshal(raw, &u); err != nil {
		if _, odd := errors.AsType[*json.UnmarshalTypeError](err); !odd {
			return noUsage()
		}
	}
	out := &commonv1.TokenUsage{PromptTokens: count(u.PromptTokens), CompletionTokens: count(u.CompletionTokens)}
	if d := u.PromptDetails; d != nil {
		out.CachedPromptTokens, out.AudioPromptTokens = count(d.CachedTokens), count(d.AudioTokens)
	}
	if d := u.CompletionDetails; d != nil {
		out.ReasoningTokens, out.AudioCompletionTokens = count(d.ReasoningTokens), count(d.AudioTokens)
	}
	return bounded(out)
}

// bounded lets no class have more than what it is a part of.
func bounded(out *commonv1.TokenUsage) *commonv1.TokenUsage {
	out.CachedPromptTokens = min(out.GetCachedPromptTokens(), out.GetPromptTokens())
	out.AudioPromptTokens = min(out.GetAudioPromptTokens(), out.GetPromptTokens())
	out.ReasoningTokens = min(out.GetReasoningTokens(), out.GetCompletionTokens())
	out.AudioCompletionTokens = min(out.GetAudioCompletionTokens(), out.GetCompletionTokens())
	return out
}

// plainUsage reads one as engines write it, without reflection; nil says nothing.
func plainUsage(raw []byte) *commonv1.TokenUsage {
	out := noUsage()
	var promptSeen, completionSeen bool
	w := jsonwalk.NewWalk(raw)
	for {
		name, at, more := w.Next()
		if !more {
			break
		}
		ok := ordinaryName(name)
		switch value := at.Of(raw); string(name) {
		case "prompt_tokens":
			out.PromptTokens, ok = digits(value)
		case "completion_tokens":
			out.CompletionTokens, ok = digits(value)
		case "prompt_tokens_details":
			ok = !promptSeen && plainDetails(value, "cached_tokens", &out.CachedPromptTokens, &out.AudioPromptTokens)
			promptSeen = true
		case "completion_tokens_details":
			ok = !completionSeen && plainDetails(value, "reasoning_tokens", &out.ReasoningTokens, &out.AudioCompletionTokens)
			completionSeen = true
		}
		if !ok {
			return nil
		}
	}
	if !w.OK() || w.End() != len(raw) {
		return nil
	}
	return bounded(out)
}

// plainDetails reads the class that is named, and audio's, of one object of details.
func plainDetails(raw []byte, class string, into, audio *int32) (ok bool) {
	if string(raw) == "null" {
		return true
	}
	w := jsonwalk.NewWalk(raw)
	for {
		name, at, more := w.Next()
		if !more {
			return w.OK()
		}
		ok := ordinaryName(name)
		switch string(name) {
		case class:
			*into, ok = digits(at.Of(raw))
		case "audio_tokens":
			*audio, ok = digits(at.Of(raw))
		}
		if !ok {
			return false
		}
	}
}

// ordinaryName reports whether a name is what it looks like: others may fold to one that
// is looked for.
func ordinaryName(name []byte) bool {
	for _, c := range name {
		if c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// digits reads a number that is nothing but digits, and few.
func digits(value []byte) (n int32, ok bool) {
	const most = 9
	if len(value) == 0 || len(value) > most || value[0] == '0' && len(value) > 1 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int32(c-'0')
	}
	return n, true
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
