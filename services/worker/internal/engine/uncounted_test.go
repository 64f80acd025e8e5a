package engine

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// What an engine generated and told no usage of is not for nothing: the tokens are
// estimated, and the caller sees those that are billed.
func TestAnswersWithoutUsageAreEstimated(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       *commonv1.TokenUsage
		says       string
	}{
		{"none", `{"choices":[{"message":{"content":"eleven byte"}}]}`, &commonv1.TokenUsage{CompletionTokens: 3, Estimated: true}, `"completion_tokens":3`},
		{"null", `{"choices":[{"message":{"content":"four"}}],"usage":null}`, &commonv1.TokenUsage{CompletionTokens: 1, Estimated: true}, `"completion_tokens":1`},
		{"of something else", `{"choices":[{"text":"four"}],"usage":{"seconds":2}}`, &commonv1.TokenUsage{CompletionTokens: 1, Estimated: true}, `"completion_tokens":1`},
		{"several choices, thoughts and tools", `{"choices":[{"message":{"content":null,"reasoning_content":"12345678","tool_calls":[{"function":{"name":"call","arguments":"{\"a\":1}"}},7]}},{"message":{"content":"a","refusal":4}}]}`, &commonv1.TokenUsage{CompletionTokens: 6, Estimated: true}, `"completion_tokens":6`},
		{"more than can be", `{"choices":[{"message":{"content":"` + strings.Repeat("x", 4000) + `"}}]}`, &commonv1.TokenUsage{CompletionTokens: 18, Estimated: true}, `"completion_tokens":18`},
		{"nothing was generated", `{"choices":[{"message":{"content":""}}]}`, &commonv1.TokenUsage{}, `"content":""`},
		{"told", `{"choices":[{"message":{"content":"eleven byte"}}],"usage":{"completion_tokens":0}}`, &commonv1.TokenUsage{}, `{"completion_tokens":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scripted(t, 200, jsonType, c.body, false).Invoke(t.Context(), Chat, []byte(`{"messages":[],"max_tokens":2}`))
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got.Usage, c.want) || !strings.Contains(string(got.Body), c.says) {
				t.Errorf("%v of %s, want %v and %s", got.Usage, got.Body, c.want, c.says)
			}
		})
	}
}
