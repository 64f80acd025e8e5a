package engine

import (
	"bytes"
	"encoding/json"
	"math"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// The bounds on the answers of one request: of each prompt, as at OpenAI, and
// of all its prompts together.
const (
	maxChoices = 128
	maxParts   = 2048
)

// The names by which llama-server takes the number of answers; its own wins.
const (
	memberN       = "n"
	memberNOwn    = "n_cmpl"
	memberPrompt  = "prompt"
	memberSeed    = "seed"
	memberChoices = "choices"
	memberUsage   = "usage"
	memberIndex   = "index"
	memberTimings = "timings"
)

// part is a request for one answer, out of a request for several.
type part struct {
	body []byte
	// index is the answer's place among all.
	index int
	// first says that it is the first of its prompt's answers: the prompt is
	// counted once, however many answers there are to it.
	first bool
}

// partsOf takes a request for several answers apart; nil when it asks for one.
// The order is OpenAI's: the answers to the first prompt come first.
func partsOf(op Operation, body []byte) ([]part, error) {
	members, err := jsonbody.Get(body, memberN, memberNOwn, memberPrompt, memberSeed)
	if err != nil {
		return nil, badBody(err)
	}
	n, err := choicesAsked(members)
	if err != nil {
		return nil, err
	}
	prompts := [][]byte{nil} // nil: as it is
	if op == Completion {
		prompts = promptsOf(members[memberPrompt])
	}
	switch {
	case n == 1 && len(prompts) == 1:
		return nil, nil
	case n*len(prompts) > maxParts:
		return nil, apierr.Invalid(memberPrompt, "a request may have at most %d answers: these prompts and this n ask for %d", maxParts, n*len(prompts))
	}
	parts := make([]part, 0, n*len(prompts))
	for _, prompt := range prompts {
		for i := range n {
			one, err := onePart(body, prompt, members[memberSeed], i)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part{body: one, index: len(parts), first: i == 0})
		}
	}
	return parts, nil
}

func onePart(body, prompt, seed []byte, i int) ([]byte, error) {
	var set []jsonbody.Member
	drop := []string{memberN, memberNOwn}
	if prompt != nil {
		drop = append(drop, memberPrompt)
		set = append(set, jsonbody.Member{Name: memberPrompt, Value: prompt})
	}
	// The engine, too, gives each answer a seed of its own, or all were the same.
	if s, ok := shifted(seed, i); ok {
		drop = append(drop, memberSeed)
		set = append(set, jsonbody.Member{Name: memberSeed, Value: s})
	}
	out, err := jsonbody.Set(body, jsonbody.Named(drop...), set...)
	if err != nil {
		return nil, badBody(err)
	}
	return out, nil
}

// shifted returns the seed of the i-th answer; false leaves it as it is: the
// first answer's, and one that the engine chooses at random.
func shifted(seed []byte, i int) ([]byte, bool) {
	var s float64
	if i == 0 || json.Unmarshal(seed, &s) != nil || s != math.Trunc(s) || s < 0 || s > math.MaxUint32-maxChoices {
		return nil, false
	}
	return number64(int64(s) + int64(i)), true
}

func choicesAsked(members map[string][]byte) (int, error) {
	name := memberNOwn
	if !given(members[name]) {
		name = memberN
	}
	if !given(members[name]) {
		return 1, nil
	}
	var n float64
	if json.Unmarshal(members[name], &n) != nil || n != math.Trunc(n) || n < 1 || n > maxChoices {
		return 0, apierr.Invalid(name, "%s must be a whole number from 1 to %d", name, maxChoices)
	}
	return int(n), nil
}

func given(value []byte) bool { return len(value) > 0 && string(value) != "null" }

// promptsOf returns the prompts of a list of texts or of token lists. Anything
// else is one prompt: a text, and a list that holds token ids.
func promptsOf(prompt []byte) [][]byte {
	var list []json.RawMessage
	if json.Unmarshal(prompt, &list) != nil || len(list) < 2 {
		return [][]byte{nil}
	}
	out := make([][]byte, len(list))
	for i, item := range list {
		if item[0] != '"' && item[0] != '[' {
			return [][]byte{nil}
		}
		out[i] = item
	}
	return out
}

// total adds up what the answers took.
func total(parts []part, usages []*commonv1.TokenUsage) *commonv1.TokenUsage {
	sum := noUsage()
	for i, u := range usages {
		if parts[i].first {
			sum.PromptTokens = add(sum.GetPromptTokens(), u.GetPromptTokens())
			sum.CachedPromptTokens = add(sum.GetCachedPromptTokens(), u.GetCachedPromptTokens())
			sum.AudioPromptTokens = add(sum.GetAudioPromptTokens(), u.GetAudioPromptTokens())
		}
		sum.ReasoningTokens = add(sum.GetReasoningTokens(), u.GetReasoningTokens())
		sum.AudioCompletionTokens = add(sum.GetAudioCompletionTokens(), u.GetAudioCompletionTokens())
		sum.CompletionTokens = add(sum.GetCompletionTokens(), u.GetCompletionTokens())
		sum.Estimated = sum.GetEstimated() || u.GetEstimated()
	}
	return sum
}

// together puts the answers to the parts into one: the first one's members, with
// the choices of all and what they took together.
func together(parts []part, answers []Answer) (Answer, error) {
	usages := make([]*commonv1.TokenUsage, len(answers))
	choices := [][]byte(nil)
	for i, a := range answers {
		usages[i] = a.Usage
		own, err := choicesOf(a.Body, parts[i].index)
		if err != nil {
			return Answer{}, err
		}
		choices = append(choices, own...)
	}
	usage := total(parts, usages)
	body, err := jsonbody.Set(answers[0].Body, jsonbody.Named(memberChoices, memberUsage, memberTimings), jsonbody.Member{Name: memberChoices, Value: array(choices)}, jsonbody.Member{Name: memberUsage, Value: usageText(usage)})
	if err != nil {
		return Answer{}, unreadable(err)
	}
	return Answer{Body: body, Usage: usage}, nil
}

// choicesOf returns the choices of an answer, or of a chunk, with their place
// set to index.
func choicesOf(body []byte, index int) ([][]byte, error) {
	members, err := jsonbody.Get(body, memberChoices)
	if err != nil {
		return nil, unreadable(err)
	}
	var raw []json.RawMessage
	if given(members[memberChoices]) {
		if err := json.Unmarshal(members[memberChoices], &raw); err != nil {
			return nil, unreadable(err)
		}
	}
	out := make([][]byte, 0, len(raw))
	for _, choice := range raw {
		placed, err := jsonbody.Set(choice, jsonbody.Named(memberIndex),
			jsonbody.Member{Name: memberIndex, Value: number64(int64(index))})
		if err != nil {
			return nil, unreadable(err)
		}
		out = append(out, placed)
	}
	return out, nil
}

func array(items [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(items, []byte{','})...), ']')
}

func unreadable(err error) error {
	return apierr.Wrap(apierr.EngineFailed, err, "the engine's answer cannot be read")
}
