package wellformed_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/wellformed"
)

func text(role, s string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: s}}}
}

func TestWhatIsSureKeepsTheRules(t *testing.T) {
	testkit.CheckShortcut(t, wellformed.Sure, &edgev1.CreateChatCompletionRequest{
		Model: "m", Messages: []*edgev1.ChatMessage{text("system", "be brief"), text("user", "why?"), text("assistant", "so"), text("tool", "1")},
		Temperature: new(float64(0.2)), TopP: new(float64(1)), N: new(int32(1)), MaxTokens: new(int32(16)), MaxCompletionTokens: new(int32(1)),
		PresencePenalty: new(float64(-2)), FrequencyPenalty: new(float64(2)), TopLogprobs: new(int32(20)), Seed: new(int64(-1)), User: "u", SafetyIdentifier: "s",
		StreamOptions: &edgev1.StreamOptions{IncludeUsage: new(true)}, Extra: map[string]string{"cache_prompt": "true"},
	})
}

func TestOtherMessagesAreNotSure(t *testing.T) {
	for _, m := range []proto.Message{&commonv1.TokenUsage{}, (*edgev1.CreateChatCompletionRequest)(nil), &edgev1.CreateChatCompletionRequest{}} {
		if wellformed.Sure(m) {
			t.Errorf("%T is taken", m)
		}
	}
}
