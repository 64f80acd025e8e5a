package openai

import (
	"encoding/json"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// chatLogprobs are log probabilities as OpenAI's chat API has them, which
// llama-server gives in answer to the older API too.
type chatLogprobs struct {
	Content []struct {
		chatLogprob
		Top []chatLogprob `json:"top_logprobs"`
	} `json:"content"`
}

type chatLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// legacyLogprobs are log probabilities as OpenAI's older API has them.
type legacyLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []float64            `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

// legacy gives a choice the older API's form of log probabilities, unless it has
// it. offset is where its text begins in characters of the whole; where it ends
// is returned.
func legacy(choice *edgev1.CompletionChoice, offset int) int {
	raw := choice.GetLogprobs().GetJson()
	members, ok := object(raw)
	if !ok || null(members["content"]) || !null(members["tokens"]) {
		return offset + len([]rune(choice.GetText()))
	}
	var in chatLogprobs
	if json.Unmarshal([]byte(raw), &in) != nil {
		return offset // whatever it is, it is the engine's
	}
	out := legacyLogprobs{
		Tokens: []string{}, TokenLogprobs: []float64{}, TopLogprobs: []map[string]float64{}, TextOffset: []int{},
	}
	for _, t := range in.Content {
		top := make(map[string]float64, len(t.Top))
		for _, other := range t.Top {
			top[other.Token] = other.Logprob
		}
		out.Tokens = append(out.Tokens, t.Token)
		out.TokenLogprobs = append(out.TokenLogprobs, t.Logprob)
		out.TopLogprobs = append(out.TopLogprobs, top)
		out.TextOffset = append(out.TextOffset, offset)
		offset += t.characters()
	}
	if text, err := json.Marshal(out); err == nil {
		choice.Logprobs.Json = string(text)
	}
	return offset
}

// characters counts those that begin in the token: a token may be a part of one.
func (t chatLogprob) characters() int {
	if t.Bytes == nil {
		return len([]rune(t.Token))
	}
	n := 0
	for _, b := range t.Bytes {
		if b&0xC0 != 0x80 { // not the continuation of a character
			n++
		}
	}
	return n
}
