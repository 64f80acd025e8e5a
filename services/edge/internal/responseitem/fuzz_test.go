package responseitem

import (
	"testing"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// FuzzItems holds that no item brings the translation down, that what was read can be
// read again from the items that it becomes, and that it is then the same.
func FuzzItems(f *testing.F) {
	for _, items := range [][]*edgev1.ResponseItem{
		{message("user", "a"), thought("b"), message("assistant", "c"), called("1", "f", "{}"), {Type: Output, CallId: "1", Output: says("d")}},
		{{Type: Message, Role: "user", Content: partsSaid(part("input_text", "a"), &edgev1.ResponsePart{Type: "refusal", Refusal: new("")})}},
		{called("", "", ""), {Type: Message}, {Type: "other"}},
	} {
		raw, err := proto.Marshal(&edgev1.ResponseItemList{Items: items})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var list edgev1.ResponseItemList
		if proto.Unmarshal(raw, &list) != nil {
			return
		}
		var c Chat
		for _, item := range list.GetItems() {
			if c.Add(item, "input") != nil {
				return
			}
		}
		for _, m := range c.Messages {
			items := Of(m)
			if len(items) == 0 {
				t.Fatalf("%v is no item", m)
			}
			if m.GetContent().GetParts() != nil || len(partsOf(m)) == 0 && len(m.GetToolCalls()) == 0 && items[0].GetType() == Message {
				continue // pictures, and messages that say nothing, are not asked with again
			}
			var again Chat
			for _, item := range items {
				if err := again.Add(item, "input"); err != nil {
					t.Fatalf("%v became %v: %v", m, items, err)
				}
			}
			want := proto.CloneOf(m)
			want.ReasoningContent = nil // a thought is no item of a message
			if want.GetContent().GetText() == "" && len(want.GetToolCalls()) > 0 {
				want.Content = nil
			}
			if len(again.Messages) != 1 || !proto.Equal(again.Messages[0], want) {
				t.Fatalf("%v became %v", want, again.Messages)
			}
		}
	})
}
