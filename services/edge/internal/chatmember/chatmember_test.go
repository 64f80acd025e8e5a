package chatmember

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

func taker() *Taker {
	return New(jsoncodec.New(jsoncodec.Options{}), grpcserver.LazyValidator(), map[string]string{"max_tokens": "max_output_tokens"})
}

func TestMembersGoWhereTheyBelong(t *testing.T) {
	chat := &edgev1.CreateChatCompletionRequest{Model: "m", Extra: map[string]string{
		"seed": "7", "stop": `["a","b"]`, "presence_penalty": "-1.5", "frequency_penalty": "null", "n": "1", "logprobs": "false", "top_logprobs": "0",
		"stream_options": `{"include_obfuscation":false}`, "top_k": "3", "prompt": `{"id":"p","variables":{"a":"b"}}`, "cache": `{"use":"on"}`,
		"extra": "1", "SEED": "2",
	}}
	if err := taker().Take(chat); err != nil {
		t.Fatal(err)
	}
	want := &edgev1.CreateChatCompletionRequest{
		Model: "m", Seed: proto.Int64(7), PresencePenalty: new(-1.5),
		Stop:   &edgev1.StopSequences{Stop: &edgev1.StopSequences_List{List: &edgev1.StopSequenceList{Sequences: []string{"a", "b"}}}},
		Prompt: &edgev1.ChatPrompt{Id: "p", Variables: map[string]string{"a": "b"}}, Cache: &commonv1.RawJson{Json: `{"use":"on"}`},
		Extra: map[string]string{"top_k": "3", "extra": "1", "SEED": "2"},
	}
	if !proto.Equal(chat, want) {
		t.Errorf("got %v, want %v", chat, want)
	}
}

func TestWhatHasNoPlaceIsRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"n": "2", "logprobs": "true", "top_logprobs": "3", "max_tokens": "4", "response_format": `{"type":"text"}`, "messages": "[]", "retrieval": `{"collection":"c"}`,
		"tools": "[]", "seed": `"x"`, "stop": `{"a":1}`, "presence_penalty": "3", "frequency_penalty": "-2.5", "prompt": `{"id":"../x"}`, "model": `"other"`,
		"user": "7", "max_completion_tokens": "1",
	} {
		chat := &edgev1.CreateChatCompletionRequest{Model: "m", Extra: map[string]string{name: raw}}
		err := taker().Take(chat)
		if e := apierr.From(err); err == nil || e.Reason != apierr.InvalidArgument || e.Field == "" {
			t.Errorf("%s %s: %v", name, raw, err)
		}
	}
	twice := &edgev1.CreateChatCompletionRequest{
		Stop: &edgev1.StopSequences{Stop: &edgev1.StopSequences_Text{Text: "a"}}, Extra: map[string]string{"stop": `"b"`},
	}
	if err := taker().Take(twice); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("stop twice: %v", err)
	}
}

// FuzzTake: whatever a member is, no member but those that may be taken changes.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{"7", `"x"`, "{", `1,"model":"other"`, `null`, `{"id":"p"}`, `1}{"n":2`} {
		f.Add("seed", seed)
		f.Add("prompt", seed)
	}
	f.Fuzz(func(t *testing.T, name, raw string) {
		before := &edgev1.CreateChatCompletionRequest{Model: "m", User: "u", Extra: map[string]string{name: raw}}
		chat, ok := proto.Clone(before).(*edgev1.CreateChatCompletionRequest)
		if !ok {
			t.Fatal("no clone")
		}
		if taker().Take(chat) != nil {
			return
		}
		chat.Seed, chat.Stop, chat.PresencePenalty, chat.FrequencyPenalty, chat.Prompt, chat.Cache = nil, nil, nil, nil, nil, nil
		if len(chat.GetExtra()) > 0 && !maps.Equal(chat.GetExtra(), before.GetExtra()) {
			t.Errorf("%q %q left %v", name, raw, chat.GetExtra())
		}
		chat.Extra = nil
		if !proto.Equal(chat, &edgev1.CreateChatCompletionRequest{Model: "m", User: "u"}) {
			t.Errorf("%q %q made %v", name, raw, chat)
		}
	})
}
