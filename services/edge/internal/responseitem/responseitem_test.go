package responseitem

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

func says(text string) *edgev1.ResponseContent {
	return &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Text{Text: text}}
}

func partsSaid(parts ...*edgev1.ResponsePart) *edgev1.ResponseContent {
	return &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Parts{Parts: &edgev1.ResponsePartList{Parts: parts}}}
}

func part(kind, text string) *edgev1.ResponsePart {
	return &edgev1.ResponsePart{Type: kind, Text: &text}
}

func message(role, text string) *edgev1.ResponseItem {
	return &edgev1.ResponseItem{Type: Message, Role: role, Content: says(text)}
}

func called(id, name, arguments string) *edgev1.ResponseItem {
	return &edgev1.ResponseItem{Type: Call, CallId: id, Name: name, Arguments: &arguments}
}

func thought(text string) *edgev1.ResponseItem {
	return &edgev1.ResponseItem{Type: Reasoning, Content: partsSaid(part("reasoning_text", text))}
}

func chatSays(role, text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: Text(text)}
}

func toolCall(id, name, arguments string) *edgev1.ToolCall {
	return &edgev1.ToolCall{Id: id, Type: "function", Function: &edgev1.ToolCallFunction{Name: name, Arguments: &arguments}}
}

func chatOf(t *testing.T, items ...*edgev1.ResponseItem) []*edgev1.ChatMessage {
	t.Helper()
	var c Chat
	for _, item := range items {
		if err := c.Add(item, "input[0]"); err != nil {
			t.Fatalf("%v: %v", item, err)
		}
	}
	return c.Messages
}

func TestItemsBecomeMessages(t *testing.T) {
	why := "no"
	withThought := func(m *edgev1.ChatMessage, text string) *edgev1.ChatMessage {
		m.ReasoningContent = &text
		return m
	}
	for name, tt := range map[string]struct {
		items []*edgev1.ResponseItem
		want  []*edgev1.ChatMessage
	}{
		"texts": {
			[]*edgev1.ResponseItem{message("developer", "be brief"), message("user", "hi"), message("assistant", "")},
			[]*edgev1.ChatMessage{chatSays("developer", "be brief"), chatSays("user", "hi"), chatSays("assistant", "")},
		},
		"parts that are only text are one text": {
			[]*edgev1.ResponseItem{{Type: Message, Role: "assistant", Content: partsSaid(
				part("input_text", "a"), part("output_text", "b"), part("text", ""), &edgev1.ResponsePart{Type: "refusal", Refusal: &why})}},
			[]*edgev1.ChatMessage{chatSays("assistant", "a\n\nb\n\n\n\nno")},
		},
		"images stay parts": {
			[]*edgev1.ResponseItem{{Type: Message, Role: "user", Content: partsSaid(
				part("input_text", "what?"), &edgev1.ResponsePart{Type: "input_image", ImageUrl: new(`data:"x"`), Detail: new("low")})}},
			[]*edgev1.ChatMessage{{Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Parts{Parts: &edgev1.ContentPartList{
				Parts: []*edgev1.ContentPart{
					{Type: "text", Text: new("what?")},
					{Type: "image_url", Extra: map[string]string{"image_url": `{"url":"data:\"x\"","detail":"low"}`}},
				},
			}}}}},
		},
		"calls belong to what the assistant said before them": {
			[]*edgev1.ResponseItem{
				message("assistant", "wait"), called("1", "f", "{}"), called("2", "g", ""),
				{Type: Output, CallId: "1", Output: says("one")},
				{Type: Output, CallId: "2", Output: partsSaid(part("input_text", "two"))},
				called("3", "f", "{}"),
			},
			[]*edgev1.ChatMessage{
				{Role: "assistant", Content: Text("wait"), ToolCalls: []*edgev1.ToolCall{toolCall("1", "f", "{}"), toolCall("2", "g", "")}},
				{Role: "tool", ToolCallId: "1", Content: Text("one")},
				{Role: "tool", ToolCallId: "2", Content: Text("two")},
				{Role: "assistant", ToolCalls: []*edgev1.ToolCall{toolCall("3", "f", "{}")}},
			},
		},
		"a thought is of the message after it": {
			[]*edgev1.ResponseItem{thought("hm"), thought("!"), message("assistant", "yes"), thought("so"), called("1", "f", "{}"), called("2", "f", "{}")},
			[]*edgev1.ChatMessage{
				withThought(chatSays("assistant", "yes"), "hm!"),
				withThought(&edgev1.ChatMessage{Role: "assistant", ToolCalls: []*edgev1.ToolCall{toolCall("1", "f", "{}"), toolCall("2", "f", "{}")}}, "so"),
			},
		},
		"a thought that nothing came of is of no later turn": {
			[]*edgev1.ResponseItem{message("user", "a"), thought("cut off"), message("user", "b"), message("assistant", "c"), thought("last")},
			[]*edgev1.ChatMessage{chatSays("user", "a"), chatSays("user", "b"), chatSays("assistant", "c")},
		},
	} {
		got := chatOf(t, tt.items...)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %v", name, got)
			continue
		}
		for i := range got {
			if !proto.Equal(got[i], tt.want[i]) {
				t.Errorf("%s: message %d is %v, want %v", name, i, got[i], tt.want[i])
			}
		}
	}
}

// Whoever sent an item is told which member of it is wrong.
func TestItemsThatCannotBeRead(t *testing.T) {
	for field, item := range map[string]*edgev1.ResponseItem{
		"input[3].role":                 {Type: Message, Content: says("x")},
		"input[3].content":              {Type: Message, Role: "user"},
		"input[3].content[1].text":      {Type: Message, Role: "user", Content: partsSaid(part("input_text", "a"), &edgev1.ResponsePart{Type: "text"})},
		"input[3].content[0].image_url": {Type: Message, Role: "user", Content: partsSaid(&edgev1.ResponsePart{Type: "input_image"})},
		"input[3].content[0].type":      {Type: Message, Role: "user", Content: partsSaid(part("input_file", "a"))},
		"input[3].call_id":              {Type: Call, Name: "f"},
		"input[3].name":                 {Type: Call, CallId: "1"},
		"input[3].output":               {Type: Output, CallId: "1", Output: partsSaid()},
	} {
		var c Chat
		err := c.Add(item, "input[3]")
		if apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), "(field "+field+")") {
			t.Errorf("%s: %v", field, err)
		}
		if len(c.Messages) != 0 {
			t.Errorf("%s: left %v", field, c.Messages)
		}
	}
	var c Chat
	if err := c.Add(&edgev1.ResponseItem{Type: Output, Output: says("x")}, "input[3]"); err == nil || !strings.Contains(err.Error(), "(field input[3].call_id)") {
		t.Errorf("what no call gave: %v", err)
	}
}

func TestMessagesBecomeItems(t *testing.T) {
	refused := "no"
	annotated := &edgev1.ResponsePart{Type: PartText, Text: new("b"), Annotations: &edgev1.ResponseAnnotations{}}
	for name, tt := range map[string]struct {
		message *edgev1.ChatMessage
		want    []*edgev1.ResponseItem
	}{
		"a user's": {chatSays("user", "a"), []*edgev1.ResponseItem{{Type: Message, Status: Completed, Role: "user", Content: partsSaid(part("input_text", "a"))}}},
		"nothing":  {chatSays("user", ""), []*edgev1.ResponseItem{{Type: Message, Status: Completed, Role: "user", Content: partsSaid()}}},
		"a refusal and calls": {
			&edgev1.ChatMessage{Role: "assistant", Content: Text("b"), Refusal: &refused, ToolCalls: []*edgev1.ToolCall{toolCall("1", "f", "{}"), {Id: "2"}}},
			[]*edgev1.ResponseItem{
				{Type: Message, Status: Completed, Role: "assistant", Content: partsSaid(annotated, &edgev1.ResponsePart{Type: "refusal", Refusal: &refused})},
				{Type: Call, Status: Completed, CallId: "1", Name: "f", Arguments: new("{}")},
				{Type: Call, Status: Completed, CallId: "2", Arguments: new("")},
			},
		},
		"calls alone": {
			&edgev1.ChatMessage{Role: "assistant", ToolCalls: []*edgev1.ToolCall{toolCall("1", "f", "{}")}},
			[]*edgev1.ResponseItem{{Type: Call, Status: Completed, CallId: "1", Name: "f", Arguments: new("{}")}},
		},
		"a tool's": {
			&edgev1.ChatMessage{Role: "tool", ToolCallId: "1", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Parts{Parts: &edgev1.ContentPartList{
				Parts: []*edgev1.ContentPart{{Type: "text", Text: new("x")}, {Type: "text", Text: new("y")}},
			}}}},
			[]*edgev1.ResponseItem{{Type: Output, Status: Completed, CallId: "1", Output: says("x\ny")}},
		},
		"a function's, of old": {
			&edgev1.ChatMessage{Role: "function", Name: "f", Content: Text("x")},
			[]*edgev1.ResponseItem{{Type: Output, Status: Completed, CallId: "f", Output: says("x")}},
		},
	} {
		got := Of(tt.message)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %v", name, got)
			continue
		}
		for i := range got {
			if !proto.Equal(got[i], tt.want[i]) {
				t.Errorf("%s: item %d is %v, want %v", name, i, got[i], tt.want[i])
			}
		}
	}
}

// Taking an item out of a message leaves the message that has the other items.
func TestWithoutLeavesTheOthers(t *testing.T) {
	whole := &edgev1.ChatMessage{
		Role: "assistant", Content: Text("a"), Refusal: new("b"),
		ToolCalls: []*edgev1.ToolCall{toolCall("1", "f", ""), toolCall("2", "f", ""), toolCall("3", "f", "")},
	}
	for _, m := range []*edgev1.ChatMessage{whole, {Role: "assistant", ToolCalls: whole.GetToolCalls()}, chatSays("user", "x"), {Role: "tool", ToolCallId: "1"}} {
		items := Of(m)
		for place := range items {
			left := proto.CloneOf(m)
			if some := Without(left, place); some != (len(items) > 1) {
				t.Fatalf("%v without %d: left %v", m, place, some)
			} else if !some {
				continue
			}
			got := Of(left)
			want := append(append([]*edgev1.ResponseItem(nil), items[:place]...), items[place+1:]...)
			if len(got) != len(want) {
				t.Fatalf("%v without %d has %v", m, place, got)
			}
			for i := range got {
				if !proto.Equal(got[i], want[i]) {
					t.Errorf("%v without %d: item %d is %v, want %v", m, place, i, got[i], want[i])
				}
			}
		}
	}
}

func TestPrefixesTellKindsApart(t *testing.T) {
	seen := map[string]string{}
	for _, kind := range []string{Message, Call, Output, Reasoning} {
		p := Prefix(kind)
		if p == "" || seen[p] != "" {
			t.Errorf("%s has the prefix %q, as %q has", kind, p, seen[p])
		}
		seen[p] = kind
	}
}
