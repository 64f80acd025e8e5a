package engine

import (
	"encoding/json"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func TestUsageIsReadWithoutReflection(t *testing.T) {
	for text, plain := range map[string]bool{
		`{"prompt_tokens":9,"completion_tokens":16,"total_tokens":25}`:                                                        true,
		`{ "prompt_tokens" : 90, "completion_tokens":0,"prompt_tokens_details":{"cached_tokens":89,"a":[]}}`:                  true,
		`{"prompt_tokens":9,"prompt_tokens_details":null,"x":{"PROMPT_TOKENS":1}}`:                                            true,
		`{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":7}}`:                                                     true,
		`{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":12,"x":{"audio_tokens":3}}}`: true,
		`{"completion_tokens_details":{"reasoning_tokens":-4}}`:                                                               false,
		`{"completion_tokens_details":{},"completion_tokens_details":{}}`:                                                     false,
		`{"prompt_tokens":9,"prompt_tokens_details":{"audio_tokens":1.5}}`:                                                    false,
		`{}`:                                    true,
		`{"prompt_tokens":9,"PROMPT_tokens":3}`: false,
		`{"prompt_tokens":9.5,"completion_tokens":1e2}`: false,
		`{"prompt_tokens":"9"}`:                         false,
		`{"prompt_tokens":-1}`:                          false,
		`{"prompt_tokens":99999999999}`:                 false,
		`{"completion_token\u0073":9}`:                  false,
		`{"prompt_tokens_details":[]}`:                  false,
		`{"prompt_tokens_details":{"cached_tokens":1},"prompt_tokens_details":{}}`: false,
		`null`: false,
		``:     false,
	} {
		if got := plainUsage([]byte(text)); (got != nil) != plain {
			t.Errorf("%s: plain %v", text, got)
		}
		if got, want := usageOf([]byte(text)), decodedUsage([]byte(text)); !proto.Equal(got, want) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

// What is odd counts as 0, and nothing else does: an engine that has one member of another
// type is not free.
func TestOddUsageLeavesTheRest(t *testing.T) {
	for text, want := range map[string]*commonv1.TokenUsage{
		`{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":"3"}}`: {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":[]}`:                    {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_tokens":"9","completion_tokens":4}`:                                             {CompletionTokens: 4},
		`{"prompt_tokens":1e400,"completion_tokens":4}`:                                           {CompletionTokens: 4},
		`{"prompt_tokens":1e300,"completion_tokens":-4}`:                                          {PromptTokens: math.MaxInt32},
		`{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":-1,"audio_tokens":1e9}}`:     {PromptTokens: 9, AudioPromptTokens: 9},
		`{"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":true}}`:           {CompletionTokens: 4},
		`[]`: {},
	} {
		if got := usageOf([]byte(text)); !proto.Equal(got, want) {
			t.Errorf("of an answer: %s is %v", text, got)
		}
		var r recorder
		c := script(t, tellsAtEnd, `{"choices":[],"usage":`+text+`}`, "[DONE]")
		if got, err := c.Stream(t.Context(), Chat, []byte(`{"messages":[]}`), &r); err != nil || !proto.Equal(got, want) {
			t.Errorf("of a stream: %s is %v, %v", text, got, err)
		}
	}
}

// A usage that counts nothing is none: what came is counted by its parts.
func TestEmptyUsageIsNone(t *testing.T) {
	for _, usage := range []string{`{}`, `{"total_tokens":7}`, `[]`, `7`} {
		var r recorder
		chunk := `{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":` + usage + `}`
		c := script(t, tellsAtEnd, chunk, chunk, `{"choices":[],"usage":`+usage+`}`, "[DONE]")
		got, err := c.Stream(t.Context(), Chat, []byte(`{"messages":[]}`), &r)
		if err != nil || got.GetCompletionTokens() != 2 || !got.GetEstimated() {
			t.Errorf("%s: %v, %v", usage, got, err)
		}
	}
}

func FuzzUsage(f *testing.F) {
	f.Add([]byte(`{"prompt_tokens":9,"completion_tokens":16,"prompt_tokens_details":{"cached_tokens":3}}`))
	f.Add([]byte(classesUsage))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) { // the answer around it was checked
			return
		}
		if got, want := usageOf(raw), decodedUsage(raw); !proto.Equal(got, want) {
			t.Errorf("%s is %v, want %v", raw, got, want)
		}
	})
}
