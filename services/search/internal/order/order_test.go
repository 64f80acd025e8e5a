package order

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/filter"
)

func TestParse(t *testing.T) {
	for s, want := range map[string][]Key{
		"":                           nil,
		"  ":                         nil,
		"metadata.year desc, title":  {{By: Metadata, Path: "year", Desc: true}, {By: Title}},
		"year asc":                   {{By: Metadata, Path: "year"}},
		"metadata.title , id\tdesc":  {{By: Metadata, Path: "title"}, {By: ID, Desc: true}},
		"create_time,update_time":    {{By: CreateTime}, {By: UpdateTime}},
		"metadata.author.name,score": {{By: Metadata, Path: "author.name"}, {By: Score}},
		"metadata.metadata.x":        {{By: Metadata, Path: "metadata.x"}},
	} {
		got, err := Parse(s)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		",", "title,", "title DESC", "title desc desc", "a b c", "metadata.", "title, title desc", "year, metadata.year",
		strings.Repeat("a,", MaxKeys) + "a", strings.Repeat("a", MaxBytes+1), "metadata." + strings.Repeat("a", filter.MaxPathBytes+1),
	} {
		_, err := Parse(s)
		if e := apierr.From(err); err == nil || e.Reason != apierr.InvalidArgument || e.Field != "order_by" {
			t.Errorf("%.40q: got %v", s, err)
		}
	}
}

func TestCompare(t *testing.T) {
	list := OfField(filter.Field{Shape: filter.List, Values: []filter.Value{filter.StringValue("m"), filter.NumberValue(5), filter.BoolValue(true)}})
	values := []Value{
		Of(filter.NumberValue(-1)), list, Of(filter.NumberValue(7)), Of(filter.BoolValue(false)), Of(filter.BoolValue(true)),
		OfText("A"), OfText("a"), OfText("é"),
		{},
	}
	at := func(v Value) func(int) Value { return func(int) Value { return v } }
	up, down := []Key{{By: Title}}, []Key{{By: Title, Desc: true}}
	for i := 1; i < len(values); i++ {
		if Compare(up, at(values[i-1]), at(values[i])) >= 0 {
			t.Errorf("upwards %v is not before %v", values[i-1], values[i])
		}
	}
	if Compare(down, at(list), at(OfText("a"))) >= 0 {
		t.Error("downwards a list counts by its greatest")
	}
	if Compare(down, at(OfText("")), at(OfText("a"))) <= 0 || Compare(up, at(Value{}), at(Value{})) != 0 {
		t.Error("what is missing is not last")
	}
	long := strings.Repeat("x", filter.MaxShownBytes)
	if Compare(up, at(OfText(long+"a")), at(OfText(long+"b"))) != 0 {
		t.Error("more of a text is compared than is said")
	}
}
