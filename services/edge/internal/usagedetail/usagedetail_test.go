package usagedetail

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// What is written is read back, whatever of it there is.
func TestUsageIsWrittenAndRead(t *testing.T) {
	for _, u := range []*commonv1.TokenUsage{
		{},
		{PromptTokens: 9, CompletionTokens: 4},
		{PromptTokens: 9, CompletionTokens: 4, CachedPromptTokens: 3},
		{PromptTokens: 9, CompletionTokens: 4, AudioPromptTokens: 5},
		{PromptTokens: 9, CompletionTokens: 4, ReasoningTokens: 2},
		{PromptTokens: 9, CompletionTokens: 4, CachedPromptTokens: 3, AudioPromptTokens: 5, ReasoningTokens: 2, AudioCompletionTokens: 1},
	} {
		m := Message(u)
		if got := Of(m); !proto.Equal(got, u) || m.GetTotalTokens() != u.GetPromptTokens()+u.GetCompletionTokens() {
			t.Errorf("%v is written as %v, and read as %v", u, m, got)
		}
	}
	if Message(nil) != nil {
		t.Error("of nothing there is something")
	}
}

// What is odd counts as nothing, and no class has more than what it is a part of.
func TestOddUsage(t *testing.T) {
	for text, want := range map[string]*commonv1.TokenUsage{
		`{"reasoning_tokens":3.0,"audio_tokens":99,"other":{"audio_tokens":1}}`: {CompletionTokens: 7, ReasoningTokens: 3, AudioCompletionTokens: 7},
		`{"reasoning_tokens":-3,"audio_tokens":"4"}`:                            {CompletionTokens: 7},
		`{"reasoning_tokens":null`:                                              {CompletionTokens: 7},
		`[]`:                                                                    {CompletionTokens: 7}, `null`: {CompletionTokens: 7}, ``: {CompletionTokens: 7},
	} {
		if got := Of(&edgev1.Usage{CompletionTokens: 7, Extra: map[string]string{memberCompletion: text}}); !proto.Equal(got, want) {
			t.Errorf("%s is %v", text, got)
		}
	}
	for _, u := range []*edgev1.Usage{
		{PromptTokens: -5, CompletionTokens: -7, PromptTokensDetails: &edgev1.PromptTokensDetails{CachedTokens: 3}},
		{PromptTokensDetails: &edgev1.PromptTokensDetails{CachedTokens: -3, Extra: map[string]string{memberAudio: "-1"}}},
	} {
		if got := Of(u); !proto.Equal(got, &commonv1.TokenUsage{}) {
			t.Errorf("%v is %v", u, got)
		}
	}
	if got := Message(&commonv1.TokenUsage{PromptTokens: math.MaxInt32, CompletionTokens: 1}); got.GetTotalTokens() != math.MaxInt32 {
		t.Errorf("too many are %v", got)
	}
	if got := Of(nil); !proto.Equal(got, &commonv1.TokenUsage{}) {
		t.Errorf("nothing is %v", got)
	}
}

func FuzzOf(f *testing.F) {
	f.Add(`{"reasoning_tokens":3,"audio_tokens":1}`, `4`)
	f.Fuzz(func(t *testing.T, completion, audio string) {
		got := Of(&edgev1.Usage{
			PromptTokens: 5, CompletionTokens: 6, Extra: map[string]string{memberCompletion: completion},
			PromptTokensDetails: &edgev1.PromptTokensDetails{Extra: map[string]string{memberAudio: audio}},
		})
		for n, most := range map[int32]int32{got.GetReasoningTokens(): 6, got.GetAudioCompletionTokens(): 6, got.GetAudioPromptTokens(): 5} {
			if n < 0 || n > most {
				t.Errorf("%q, %q: %v", completion, audio, got)
			}
		}
	})
}
