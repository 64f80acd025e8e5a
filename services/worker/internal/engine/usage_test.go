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
		`{"prompt_tokens":1,"prompt_tokens":9}`:                                                                               false,
		`{"completion_tokens_details":{"audio_tokens":1,"audio_tokens":2}}`:                                                   false,
		`{"prompt_tokens":9,"prompt_tokens_details":{"Cached_tokens":3}}`:                                                     false,
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
		u, told, ok := plainUsage([]byte(text))
		if ok != plain {
			t.Errorf("%s: plain %v", text, ok)
		}
		if want, wantTold := decodedUsage([]byte(text)); ok && (u != want || told != wantTold) {
			t.Errorf("%s is %+v %v, want %+v %v", text, u, told, want, wantTold)
		}
	}
}

// bothWays is what an object tells when it comes with a whole answer and at the end of a
// stream.
func bothWays(t *testing.T, text string) (whole, streamed *commonv1.TokenUsage) {
	t.Helper()
	whole = usageOf([]byte(text))
	s := &stream{sink: &recorder{}, running: tellsAtEnd}
	if _, err := s.inspect([]byte(`{"choices":[],"usage":` + text + `}`)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return whole, s.told()
}

// What is odd counts as 0, and nothing else does: an engine that has one member of another
// type is not free. Names that fold, members that come twice and counts of every size are
// read alike of a whole answer and of a stream.
func TestUsageCountsTheSameBothWays(t *testing.T) {
	for text, want := range map[string]*commonv1.TokenUsage{
		classesUsage: classes(),
		`{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":"3"}}`: {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":[]}`:                    {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_tokens":"9","completion_tokens":4}`:                                             {CompletionTokens: 4},
		`{"prompt_tokens":null,"completion_tokens":4}`:                                            {CompletionTokens: 4},
		`{"prompt_tokens":1e400,"completion_tokens":4}`:                                           {CompletionTokens: 4},
		`{"prompt_tokens":1e300,"completion_tokens":-4}`:                                          {PromptTokens: math.MaxInt32},
		`{"prompt_tokens":2147483648,"completion_tokens":2147483647}`:                             {PromptTokens: math.MaxInt32, CompletionTokens: math.MaxInt32},
		`{"prompt_tokens":9.9,"completion_tokens":1e2}`:                                           {PromptTokens: 9, CompletionTokens: 100},
		`{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":-1,"audio_tokens":1e9}}`:     {PromptTokens: 9, AudioPromptTokens: 9},
		`{"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":true}}`:           {CompletionTokens: 4},
		`{"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":5}}`:              {CompletionTokens: 4, ReasoningTokens: 4},
		`{"Prompt_Tokens":9,"COMPLETION_TOKENS":4}`:                                               {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_to\u212Aens":9,"completion_token\u0073":4}`:                                     {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_to` + "\u212a" + `ens":9,"completion_token` + "\u017f" + `":4}`:                 {PromptTokens: 9, CompletionTokens: 4},
		`{"prompt_tokens":1,"prompt_tokens":9}`:                                                   {PromptTokens: 9},
		`{"prompt_tokens":9,"prompt_tokens":"1"}`:                                                 {PromptTokens: 9},
		`{"prompt_tokens":9,"PROMPT_TOKENS":3}`:                                                   {PromptTokens: 3},
		`{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4},"prompt_tokens_details":{"audio_tokens":2}}`: {
			PromptTokens: 9, CachedPromptTokens: 4, AudioPromptTokens: 2,
		},
		`{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4,"Cached_tokens":2}}`: {PromptTokens: 9, CachedPromptTokens: 2},
		// Classes of nothing are none.
		`{"prompt_tokens_details":{"cached_tokens":4}}`: {},
		`{}`:   {},
		`[]`:   {},
		`null`: {},
	} {
		whole, stream := bothWays(t, text)
		if !proto.Equal(whole, want) {
			t.Errorf("of an answer: %s is %v", text, whole)
		}
		if !proto.Equal(stream, want) {
			t.Errorf("of a stream: %s is %v", text, stream)
		}
	}
}

// A stream's classes stay within what is counted in the end, whatever was told before.
func TestClassesStayWithinTheLastCount(t *testing.T) {
	s := &stream{sink: &recorder{}, running: tellsUsage}
	for _, usage := range []string{classesUsage, `{"prompt_tokens":3,"completion_tokens":2}`} {
		if _, err := s.inspect([]byte(`{"choices":[],"usage":` + usage + `}`)); err != nil {
			t.Fatal(err)
		}
	}
	want := &commonv1.TokenUsage{
		PromptTokens: 3, CachedPromptTokens: 3, AudioPromptTokens: 3, CompletionTokens: 2, ReasoningTokens: 2, AudioCompletionTokens: 2,
	}
	if got := s.told(); !proto.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
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
	f.Add([]byte(`{"prompt_tokens":9,"PROMPT_tokens":1e9,"prompt_tokens_details":{"audio_tokens":"x","audio_tokens":2147483648},"prompt_tokens_details":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) { // the answer around it was checked
			return
		}
		want, wantTold := decodedUsage(raw)
		if got, told := readUsage(raw); got != want || told != wantTold {
			t.Errorf("%s is %+v %v, want %+v %v", raw, got, told, want, wantTold)
		}
		if whole, stream := bothWays(t, string(raw)); !proto.Equal(whole, stream) {
			t.Errorf("%s is %v of an answer and %v of a stream", raw, whole, stream)
		}
	})
}
