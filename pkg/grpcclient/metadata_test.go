package grpcclient

import (
	"fmt"
	"reflect"
	"testing"

	"google.golang.org/grpc/metadata"
)

// What calls have in common is changed for none of them.
func TestMetadataThatCallsShare(t *testing.T) {
	common := metadata.MD{"a": {"1"}}
	alone := Metadata{}.Without("a").And(common)
	if reflect.ValueOf(alone.md).Pointer() != reflect.ValueOf(common).Pointer() {
		t.Error("what a call has nothing beside is copied")
	}
	for want, m := range map[string]Metadata{
		"map[a:[1] b:[2]]": alone.With("b", "2"),
		"map[a:[2]]":       alone.With("a", "2"),
		"map[]":            alone.Without("a"),
		"map[a:[1]]":       alone.And(nil).Without("b"),
		"map[a:[3] c:[4]]": alone.And(metadata.MD{"a": {"3"}, "c": {"4"}}),
		"map[a:[1] d:[5]]": Metadata{md: metadata.MD{"a": {"0", "x"}, "d": {"5"}}}.Without("a").And(common),
	} {
		if got := fmt.Sprint(map[string][]string(m.md)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	more := Metadata{md: metadata.MD{"d": {"5"}}}.And(common)
	more.md["a"] = append(more.md["a"], "2")
	if want := (metadata.MD{"a": {"1"}}); !reflect.DeepEqual(common, want) || cap(common["a"]) != 1 {
		t.Errorf("what is shared has become %v", common)
	}
}
