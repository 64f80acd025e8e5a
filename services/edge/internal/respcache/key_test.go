package respcache_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

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

// untouched are the fields that do not touch an answer, or that Scope speaks for.
func untouched() map[string]bool {
	return map[string]bool{
		"CreateChatCompletionRequest.model": true, "CreateChatCompletionRequest.stream": true, "CreateChatCompletionRequest.cache": true,
		"StreamOptions.include_usage": true, "ChatPrompt.version": true,
		"CreateCompletionRequest.model": true, "CreateCompletionRequest.stream": true, "CreateCompletionRequest.cache": true,
		"CreateEmbeddingRequest.model": true, "CreateEmbeddingRequest.input": true, "CreateEmbeddingRequest.encoding_format": true,
		"CreateEmbeddingRequest.user": true, "CreateEmbeddingRequest.cache": true,
	}
}

// depth bounds messages that may hold themselves.
const depth = 6

// fill sets every field of a message to something that is not its default.
func fill(m protoreflect.Message, level int) {
	if level == 0 {
		return
	}
	fds := m.Descriptor().Fields()
	for i := range fds.Len() {
		if fd := fds.Get(i); m.Descriptor().Oneofs().Len() == 0 || fd.ContainingOneof() == nil || fd.HasOptionalKeyword() || m.WhichOneof(fd.ContainingOneof()) == nil {
			m.Set(fd, sample(m, fd, 1, level))
		}
	}
}

// sample is a value of a field; n tells two apart.
func sample(m protoreflect.Message, fd protoreflect.FieldDescriptor, n, level int) protoreflect.Value {
	switch {
	case fd.IsMap():
		v := m.NewField(fd)
		v.Map().Set(protoreflect.ValueOfString("name").MapKey(), protoreflect.ValueOfString(fmt.Sprintf(`{"a":%d,"b":[2,{"c":3}]}`, n)))
		return v
	case fd.IsList():
		v := m.NewField(fd)
		for range n {
			if fd.Message() != nil {
				item := v.List().NewElement()
				fill(item.Message(), level-1)
				v.List().Append(item)
			} else {
				v.List().Append(scalar(fd, n))
			}
		}
		return v
	case fd.Message() != nil:
		v := m.NewField(fd)
		if raw, ok := v.Message().Interface().(*commonv1.RawJson); ok {
			raw.Json = fmt.Sprintf(`{"type":"x","n":%d}`, n)
			return v
		}
		fill(v.Message(), level-1)
		return v
	}
	return scalar(fd, n)
}

func scalar(fd protoreflect.FieldDescriptor, n int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n == 1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / 8)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(strings.Repeat("v", n))
	default:
		panic("no sample of " + fd.Kind().String())
	}
}

// Whatever a request says is part of its key, however deep it stands: fields that do
// not exist yet are found here by themselves.
func TestEveryFieldCounts(t *testing.T) {
	for _, req := range []proto.Message{new(edgev1.CreateChatCompletionRequest), new(edgev1.CreateCompletionRequest), new(edgev1.CreateEmbeddingRequest)} {
		fill(req.ProtoReflect(), depth)
		before := key(t, respcache.Scope{}, req)
		changed := 0
		walk(req.ProtoReflect(), func(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
			name := string(m.Descriptor().Name()) + "." + string(fd.Name())
			old := copied(m, fd)
			kept := proto.Clone(req)
			if inner, message := old.Interface().(protoreflect.Message); !message || isRaw(inner) { // what is in others comes by itself
				m.Set(fd, sample(m, fd, 2, 3))
				if same := key(t, respcache.Scope{}, req) == before; same != untouched()[name] {
					t.Errorf("%s: the same key %v", name, same)
				}
			}
			if fd.HasPresence() {
				m.Clear(fd)
				if same := key(t, respcache.Scope{}, req) == before; same != untouched()[name] {
					t.Errorf("%s taken away: the same key %v", name, same)
				}
			}
			m.Set(fd, old)
			if !proto.Equal(req, kept) || key(t, respcache.Scope{}, req) != before {
				t.Fatalf("%s: the request was changed", name)
			}
			changed++
		})
		if changed < 8 {
			t.Errorf("only %d fields of %T", changed, req)
		}
	}
}

func isRaw(m protoreflect.Message) bool {
	_, raw := m.Interface().(*commonv1.RawJson)
	return raw
}

// copied returns a field's value, which does not change with the field.
func copied(m protoreflect.Message, fd protoreflect.FieldDescriptor) protoreflect.Value {
	v := m.Get(fd)
	switch {
	case fd.IsMap():
		out := m.NewField(fd)
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out.Map().Set(k, v)
			return true
		})
		return out
	case fd.IsList():
		out := m.NewField(fd)
		for i := range v.List().Len() {
			out.List().Append(v.List().Get(i))
		}
		return out
	}
	return v
}

// walk visits every field of a message that is set, at every depth.
func walk(m protoreflect.Message, visit func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	if isRaw(m) {
		return
	}
	fds := m.Descriptor().Fields()
	for i := range fds.Len() {
		fd := fds.Get(i)
		if !m.Has(fd) {
			continue
		}
		name := string(m.Descriptor().Name()) + "." + string(fd.Name())
		visit(m, fd)
		switch {
		case untouched()[name] || fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for j := range m.Get(fd).List().Len() {
				walk(m.Get(fd).List().Get(j).Message(), visit)
			}
		default:
			walk(m.Get(fd).Message(), visit)
		}
	}
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
