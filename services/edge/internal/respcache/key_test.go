package respcache_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

func key(t *testing.T, s respcache.Scope, req proto.Message) respcache.Key {
	t.Helper()
	k, err := respcache.KeyOf(&s, req)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEveryPartOfTheScopeCounts(t *testing.T) {
	req := &edgev1.CreateChatCompletionRequest{Messages: []*edgev1.ChatMessage{{Role: "user"}}}
	seen := map[respcache.Key]string{key(t, respcache.Scope{}, req): "nothing"}
	typ := reflect.TypeFor[respcache.Scope]()
	for i := range typ.NumField() {
		var s respcache.Scope
		switch f := reflect.ValueOf(&s).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"x"}))
		default:
			t.Fatalf("a field of kind %v", f.Kind())
		}
		k := key(t, s, req)
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s have one key", typ.Field(i).Name, other)
		}
		seen[k] = typ.Field(i).Name
	}
}

// What stands in one field can never pass for what stands in another.
func TestNothingRunsTogether(t *testing.T) {
	req := new(edgev1.CreateChatCompletionRequest)
	scopes := []respcache.Scope{
		{Tenant: "ab"},
		{Tenant: "a", Subject: "b"},
		{Subject: "ab"},
		{Tenant: "a\x00b"},
		{Tenant: "a", Subject: "\x00b"},
		{Variants: []string{"a", "b"}},
		{Variants: []string{"a,b"}},
		{Variants: []string{"ab"}},
		{Variants: []string{"a"}, Principals: []string{"b"}},
		{Principals: []string{"a", "b"}},
		{Principals: []string{"", "a", "b"}},
		{Tenant: "\x00\x00\x00\x00\x00\x00\x00\x01a"},
		{Tenant: "é"},
		{Tenant: "e\u0301"},
	}
	seen := make(map[respcache.Key]int)
	for i, s := range scopes {
		k := key(t, s, req)
		if j, ok := seen[k]; ok {
			t.Errorf("%+v and %+v have one key", s, scopes[j])
		}
		seen[k] = i
	}
	if key(t, respcache.Scope{Principals: []string{"b", "a"}}, req) != key(t, respcache.Scope{Principals: []string{"a", "b"}}, req) {
		t.Error("the order of principals counts")
	}
}

func TestWhatMeansTheSame(t *testing.T) {
	stop := func(v ...string) *edgev1.StopSequences {
		return &edgev1.StopSequences{Stop: &edgev1.StopSequences_List{List: &edgev1.StopSequenceList{Sequences: v}}}
	}
	chat := func(change func(*edgev1.CreateChatCompletionRequest)) *edgev1.CreateChatCompletionRequest {
		r := &edgev1.CreateChatCompletionRequest{Messages: []*edgev1.ChatMessage{{Role: "user"}}}
		change(r)
		return r
	}
	extra := func(v string) *edgev1.CreateChatCompletionRequest {
		return chat(func(r *edgev1.CreateChatCompletionRequest) { r.Extra = map[string]string{"guided": v} })
	}
	tool := func(v string) *edgev1.CreateChatCompletionRequest {
		return chat(func(r *edgev1.CreateChatCompletionRequest) {
			r.Tools = []*edgev1.Tool{{Type: "function", Function: &commonv1.RawJson{Json: v}}}
		})
	}
	stops := func(s *edgev1.StopSequences) *edgev1.CreateChatCompletionRequest {
		return chat(func(r *edgev1.CreateChatCompletionRequest) { r.Stop = s })
	}
	one := &edgev1.StopSequences{Stop: &edgev1.StopSequences_Text{Text: "a"}}
	for name, c := range map[string]struct {
		a, b *edgev1.CreateChatCompletionRequest
		same bool
	}{
		"members in another order":  {extra(`{"a":1,"b":{"c":2,"d":3}}`), extra(` { "b": {"d":3,"c":2}, "a":1 } `), true},
		"escapes":                   {extra(`{"a":"\u00e9"}`), extra(`{"a":"é"}`), true},
		"another order in a list":   {extra(`[1,2]`), extra(`[2,1]`), false},
		"a number as a text":        {extra(`1`), extra(`"1"`), false},
		"large numbers":             {extra(`9007199254740993`), extra(`9007199254740992`), false},
		"a member twice":            {extra(`{"a":1,"a":2}`), extra(`{"a":2,"a":1}`), false},
		"tools":                     {tool(`{"name":"f","parameters":{"x":1,"y":2}}`), tool(`{"parameters":{"y":2,"x":1},"name":"f"}`), true},
		"one stop":                  {stops(one), stops(stop("a")), true},
		"stops in another order":    {stops(stop("a", "b")), stops(stop("b", "a", "a")), true},
		"stops joined":              {stops(stop("a", "b")), stops(stop("ab")), false},
		"no stop and an empty list": {stops(nil), stops(stop()), false},
	} {
		if got := key(t, respcache.Scope{}, c.a) == key(t, respcache.Scope{}, c.b); got != c.same {
			t.Errorf("%s: the same key %v", name, got)
		}
	}
}

// FuzzTenants holds that two tenants never share a key, and that nothing which one
// puts anywhere makes its request another one's.
func FuzzTenants(f *testing.F) {
	f.Add("acme", "other", "Hello", "x", `{"a":1}`)
	f.Add("a", "a\x00", "", "\x00", "")
	f.Add("a", "ab", "b", "", "null")
	f.Fuzz(func(t *testing.T, a, b, text, extraName, extra string) {
		req := func(text string) *edgev1.CreateChatCompletionRequest {
			return &edgev1.CreateChatCompletionRequest{
				Messages: []*edgev1.ChatMessage{{Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: strings.ToValidUTF8(text, "")}}}},
				Extra:    map[string]string{strings.ToValidUTF8(extraName, ""): strings.ToValidUTF8(extra, "")},
			}
		}
		mine := key(t, respcache.Scope{Tenant: a}, req(text))
		if a != b && mine == key(t, respcache.Scope{Tenant: b}, req(text)) {
			t.Errorf("%q and %q share a key", a, b)
		}
		if mine == key(t, respcache.Scope{Tenant: a}, req(text+"x")) || mine == key(t, respcache.Scope{Tenant: a, Subject: text}, req(text)) && text != "" {
			t.Error("two requests share a key")
		}
	})
}

func BenchmarkKey(b *testing.B) {
	req := &edgev1.CreateChatCompletionRequest{Model: "small"}
	for range 4 {
		req.Messages = append(req.Messages, &edgev1.ChatMessage{Role: "user", Content: &edgev1.MessageContent{
			Content: &edgev1.MessageContent_Text{Text: strings.Repeat("words ", 50)},
		}})
	}
	s := &respcache.Scope{Tenant: "acme", Digest: "sha256:" + strings.Repeat("0", 64), Principals: slices.Collect(maps.Keys(map[string]bool{"a": true, "b": true}))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := respcache.KeyOf(s, req); err != nil {
			b.Fatal(err)
		}
	}
}
