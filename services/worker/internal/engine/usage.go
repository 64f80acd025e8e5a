package engine

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"github.com/poterne/poterne/pkg/jsonwalk"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// counts is what one usage object tells, in tokens; what it does not tell is 0.
type counts struct {
	prompt, cached, audioPrompt, completion, reasoning, audioCompletion, total int32
	// odd says that it tells something that is no count: a part of a token, fewer than
	// none, or more than can be.
	odd bool
}

// usage returns the counts that are used.
func (u *counts) usage() *commonv1.TokenUsage {
	return &commonv1.TokenUsage{
		PromptTokens: u.prompt, CachedPromptTokens: u.cached, AudioPromptTokens: u.audioPrompt,
		CompletionTokens: u.completion, ReasoningTokens: u.reasoning, AudioCompletionTokens: u.audioCompletion,
	}
}

// usageOf reads OpenAI's usage object of a whole answer; what is missing or odd counts as 0.
func usageOf(raw []byte) *commonv1.TokenUsage {
	out := noUsage()
	if u, told := readUsage(raw); told {
		out = u.usage()
		bound(out)
	}
	return out
}

// readUsage reads OpenAI's usage object, of a whole answer and of a chunk alike. It reports
// whether the object counts the tokens of the prompt or of the completion; classes of
// neither are none. What it returns is not bounded yet.
func readUsage(raw []byte) (u counts, told bool) {
	if u, told, ok := plainUsage(raw); ok {
		return u, told
	}
	return decodedUsage(raw)
}

// bound lets no class have more than what it is a part of.
func bound(u *commonv1.TokenUsage) {
	u.CachedPromptTokens = min(u.GetCachedPromptTokens(), u.GetPromptTokens())
	u.AudioPromptTokens = min(u.GetAudioPromptTokens(), u.GetPromptTokens())
	u.ReasoningTokens = min(u.GetReasoningTokens(), u.GetCompletionTokens())
	u.AudioCompletionTokens = min(u.GetAudioCompletionTokens(), u.GetCompletionTokens())
}

type usageJSON struct {
	Prompt        tokenCount `json:"prompt_tokens"`
	Completion    tokenCount `json:"completion_tokens"`
	Total         tokenCount `json:"total_tokens"`
	PromptDetails struct {
		Cached tokenCount `json:"cached_tokens"`
		Audio  tokenCount `json:"audio_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning tokenCount `json:"reasoning_tokens"`
		Audio     tokenCount `json:"audio_tokens"`
	} `json:"completion_tokens_details"`
}

// tokenCount is a count of tokens that may be something else, which leaves it as it was.
type tokenCount struct {
	tokens int32
	told   bool
	odd    bool
}

// UnmarshalJSON takes a number and passes over every other value.
func (n *tokenCount) UnmarshalJSON(raw []byte) error {
	v, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err == nil:
		n.tokens, n.told = count(v), true
		n.odd = v != float64(n.tokens)
	case errors.Is(err, strconv.ErrRange):
		n.odd = true
	}
	return nil
}

// decodedUsage is readUsage by encoding/json, which plainUsage must agree with: names are
// folded, of members that come twice the later counts.
func decodedUsage(raw []byte) (u counts, told bool) {
	var doc usageJSON
	// A member of another type leaves the others as they are.
	if err := json.Unmarshal(raw, &doc); err != nil {
		if _, odd := errors.AsType[*json.UnmarshalTypeError](err); !odd {
			return counts{}, false
		}
	}
	return counts{
		prompt: doc.Prompt.tokens, cached: doc.PromptDetails.Cached.tokens, audioPrompt: doc.PromptDetails.Audio.tokens,
		completion: doc.Completion.tokens, reasoning: doc.CompletionDetails.Reasoning.tokens, audioCompletion: doc.CompletionDetails.Audio.tokens,
		total: doc.Total.tokens,
		odd: doc.Prompt.odd || doc.PromptDetails.Cached.odd || doc.PromptDetails.Audio.odd || doc.Total.odd ||
			doc.Completion.odd || doc.CompletionDetails.Reasoning.odd || doc.CompletionDetails.Audio.odd,
	}, doc.Prompt.told || doc.Completion.told
}

// plainUsage reads one as engines write it, without reflection: ordinary names, none that
// counts twice, and small whole numbers. When it is not ok, it says nothing.
func plainUsage(raw []byte) (u counts, told, ok bool) {
	var once seen
	w := jsonwalk.NewWalk(raw)
	for {
		name, at, more := w.Next()
		if !more {
			return u, told, w.OK() && w.End() == len(raw)
		}
		ok := ordinaryName(name)
		switch value := at.Of(raw); string(name) {
		case "prompt_tokens":
			ok, told = once.count(0, value, &u.prompt), true
		case "completion_tokens":
			ok, told = once.count(1, value, &u.completion), true
		case "total_tokens":
			ok = once.count(4, value, &u.total)
		case "prompt_tokens_details":
			ok = once.first(2) && plainDetails(value, "cached_tokens", &u.cached, &u.audioPrompt)
		case "completion_tokens_details":
			ok = once.first(3) && plainDetails(value, "reasoning_tokens", &u.reasoning, &u.audioCompletion)
		}
		if !ok {
			return counts{}, false, false
		}
	}
}

// seen has a bit for each of the members that are looked for.
type seen uint8

// count reads the value of member i into n, unless the member came before.
func (s *seen) count(i int, value []byte, n *int32) (ok bool) {
	if !s.first(i) {
		return false
	}
	*n, ok = digits(value)
	return ok
}

// first reports whether member i was not seen before, and notes it.
func (s *seen) first(i int) bool {
	again := *s&(1<<i) != 0
	*s |= 1 << i
	return !again
}

// plainDetails reads the class that is named, and audio's, of one object of details.
func plainDetails(raw []byte, class string, into, audio *int32) (ok bool) {
	if string(raw) == "null" {
		return true
	}
	var once seen
	w := jsonwalk.NewWalk(raw)
	for {
		name, at, more := w.Next()
		if !more {
			return w.OK()
		}
		ok := ordinaryName(name)
		switch string(name) {
		case class:
			ok = once.count(0, at.Of(raw), into)
		case "audio_tokens":
			ok = once.count(1, at.Of(raw), audio)
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
