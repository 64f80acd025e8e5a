package responseitem

import (
	"fmt"
	"slices"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

func numbered(n int) []*edgev1.ResponseItem {
	out := make([]*edgev1.ResponseItem, n)
	for i := range out {
		out[i] = &edgev1.ResponseItem{Id: fmt.Sprint(i)}
	}
	return out
}

// Pages one after another hold every item once, in order, and only the last says that
// there are no more.
func TestPagesHoldEveryItemOnce(t *testing.T) {
	for _, order := range []string{"", "desc", "asc"} {
		for _, n := range []int{0, 1, 2, 3, 19, 20, 21, 40, 41} {
			for _, limit := range []int{0, 1, 2, 3, 100} {
				var got []string
				most := limit
				if most == 0 {
					most = 20
				}
				after := ""
				for range n + 2 {
					page, more, err := Page(numbered(n), order, after, limit)
					if err != nil || len(page) > most {
						t.Fatalf("%d items, %q, %d: %d items, %v", n, order, limit, len(page), err)
					}
					for _, item := range page {
						got = append(got, item.GetId())
					}
					if !more {
						break
					}
					after = got[len(got)-1]
				}
				want := make([]string, n)
				for i := range want {
					want[i] = fmt.Sprint(i)
				}
				if order != "asc" {
					slices.Reverse(want)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d items, %q, %d: got %v", n, order, limit, got)
				}
			}
		}
	}
	if _, _, err := Page(numbered(3), "", "3", 1); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("behind an item that is not there: %v", err)
	}
	if page, more, err := Page(numbered(3), "asc", "2", 1); err != nil || more || len(page) != 0 {
		t.Errorf("behind the last: %v, %v, %v", page, more, err)
	}
}

// Two contracts page through items, whose members have to be their own: they come by
// query. This holds them to the same rules and the same answer.
func TestBothListsKeepTheSameRules(t *testing.T) {
	ofResponse := (&edgev1.ListResponseInputItemsRequest{}).ProtoReflect().Descriptor().Fields()
	ofConversation := (&edgev1.ListConversationItemsRequest{}).ProtoReflect().Descriptor().Fields()
	for _, name := range []protoreflect.Name{"limit", "after", "order"} {
		a, b := ofResponse.ByName(name), ofConversation.ByName(name)
		if a == nil || b == nil {
			t.Fatalf("%s is missing", name)
		}
		rules := func(f protoreflect.FieldDescriptor) proto.Message {
			r, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
			return r
		}
		if a.Kind() != b.Kind() || rules(a) == nil || !proto.Equal(rules(a), rules(b)) {
			t.Errorf("%s: %v and %v", name, rules(a), rules(b))
		}
	}
	answer := (&edgev1.ListResponseInputItemsResponse{}).ProtoReflect().Descriptor().Fields()
	other := (&edgev1.ConversationItemList{}).ProtoReflect().Descriptor().Fields()
	if answer.Len() != other.Len() {
		t.Fatalf("%d and %d members", answer.Len(), other.Len())
	}
	for i := range answer.Len() {
		a, b := answer.Get(i), other.ByNumber(answer.Get(i).Number())
		if b == nil || a.Name() != b.Name() || a.Kind() != b.Kind() || a.Cardinality() != b.Cardinality() || !proto.Equal(a.Options(), b.Options()) {
			t.Errorf("%v and %v", a, b)
		}
	}
}
