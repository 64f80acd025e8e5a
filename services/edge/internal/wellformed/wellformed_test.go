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
		Temperature: proto.Float64(0.2), TopP: proto.Float64(1), N: proto.Int32(1), MaxTokens: proto.Int32(16), MaxCompletionTokens: proto.Int32(1),
		PresencePenalty: proto.Float64(-2), FrequencyPenalty: proto.Float64(2), TopLogprobs: proto.Int32(20), Seed: proto.Int64(-1), User: "u",
		StreamOptions: &edgev1.StreamOptions{IncludeUsage: proto.Bool(true)}, Extra: map[string]string{"cache_prompt": "true"},
	})
}

func TestOtherMessagesAreNotSure(t *testing.T) {
	for _, m := range []proto.Message{&commonv1.TokenUsage{}, (*edgev1.CreateChatCompletionRequest)(nil), &edgev1.CreateChatCompletionRequest{}} {
		if wellformed.Sure(m) {
			t.Errorf("%T is taken", m)
		}
	}
}
