package respcache_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// immaterial are the members that are in no key, each with the reason, and all that
// they hold with them.
func immaterial() map[string]string {
	const (
		name   = "the scope says what the name leads to"
		form   = "a stream and a whole answer are made of each other, or kept apart by the form"
		wishes = "what is asked of the cache, which is obeyed before a key is made"
	)
	return map[string]string{
		"CreateChatCompletionRequest.model": name, "CreateCompletionRequest.model": name, "CreateEmbeddingRequest.model": name,
		"CreateChatCompletionRequest.stream": form, "CreateCompletionRequest.stream": form,
		"CreateChatCompletionRequest.cache": wishes, "CreateCompletionRequest.cache": wishes, "CreateEmbeddingRequest.cache": wishes,
		"StreamOptions.include_usage":            "usage is kept, and told to those that ask",
		"ChatPrompt.version":                     "the scope has the digest of the prompt's version",
		"CreateEmbeddingRequest.input":           "each input has a key of its own (KeysOfParts)",
		"CreateEmbeddingRequest.encoding_format": "how vectors are written is no matter of theirs",
		"CreateEmbeddingRequest.user":            "the engine is not told",
	}
}

// hollow are members that say nothing as long as nothing is in them.
func hollow() map[string]string {
	return map[string]string{
		"CreateChatCompletionRequest.stream_options": "its members do", "CreateCompletionRequest.stream_options": "its members do",
	}
}

// unordered are lists of which neither order nor repetition says anything.
func unordered() map[string]string {
	return map[string]string{"StopSequenceList.sequences": "generation ends at whichever comes first"}
}

// way is how to come to a member from a request.
type way []protoreflect.FieldDescriptor

func (w way) last() protoreflect.FieldDescriptor { return w[len(w)-1] }

// name is the member's, within its message.
func (w way) name() string {
	return string(w.last().ContainingMessage().Name()) + "." + string(w.last().Name())
}

func (w way) String() string {
	var out []string
	for _, fd := range w {
		out = append(out, string(fd.Name()))
	}
	return strings.Join(out, ".")
}

func opaque(d protoreflect.MessageDescriptor) bool {
	return d.FullName() == new(commonv1.RawJson).ProtoReflect().Descriptor().FullName()
}

// ways are those to every member that a request can have, of which it is in one message
// of a kind only.
func ways(d protoreflect.MessageDescriptor, before way) (out []way) {
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		w := append(append(way(nil), before...), fd)
		out = append(out, w)
		if _, all := immaterial()[w.name()]; all || fd.IsMap() || fd.Message() == nil || opaque(fd.Message()) {
			continue
		}
		again := fd.Message() == before.root(d)
		for _, b := range w[:len(w)-1] {
			again = again || b.Message() == fd.Message()
		}
		if !again {
			out = append(out, ways(fd.Message(), w)...)
		}
	}
	return out
}

func (w way) root(d protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	if len(w) > 0 {
		return w[0].ContainingMessage()
	}
	return d
}

// parent makes what holds the member, and nothing else.
func (w way) parent(m protoreflect.Message) protoreflect.Message {
	for _, fd := range w[:len(w)-1] {
		if fd.IsList() {
			m = m.Mutable(fd).List().AppendMutable().Message()
		} else {
			m = m.Mutable(fd).Message()
		}
	}
	return m
}

// values are different things that a member can be; the first is its being there with
// nothing in it, where that can be said. The third is the second in another order.
func values(m protoreflect.Message, fd protoreflect.FieldDescriptor) (out []protoreflect.Value) {
	switch {
	case fd.IsMap():
		for _, kv := range [][2]string{{"a", "1"}, {"a", "2"}, {"b", "1"}} {
			v := m.NewField(fd)
			v.Map().Set(protoreflect.ValueOfString(kv[0]).MapKey(), protoreflect.ValueOfString(kv[1]))
			out = append(out, v)
		}
	case fd.IsList():
		for _, order := range [][]int{{0}, {0, 1}, {1, 0}, {0, 0}, {1}} {
			v := m.NewField(fd)
			for _, i := range order {
				if fd.Message() == nil {
					v.List().Append(scalars(fd)[1+i])
					continue
				}
				item := v.List().AppendMutable().Message()
				if i == 1 {
					mark(item)
				}
			}
			out = append(out, v)
		}
	case fd.Message() != nil:
		out = append(out, m.NewField(fd))
		if opaque(fd.Message()) {
			for _, text := range []string{`{"a":1}`, `{"a":2}`} {
				out = append(out, protoreflect.ValueOfMessage((&commonv1.RawJson{Json: text}).ProtoReflect()))
			}
		}
	default:
		if out = scalars(fd); !fd.HasPresence() {
			out = out[1:]
		}
	}
	return out
}

// mark sets something in a message.
func mark(m protoreflect.Message) {
	if opaque(m.Descriptor()) {
		m.Set(m.Descriptor().Fields().Get(0), protoreflect.ValueOfString("1"))
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		if fd := m.Descriptor().Fields().Get(i); !fd.IsMap() && !fd.IsList() && fd.Message() == nil {
			m.Set(fd, scalars(fd)[1])
			return
		}
	}
	for i := range m.Descriptor().Fields().Len() {
		if fd := m.Descriptor().Fields().Get(i); fd.Message() != nil && !fd.IsMap() && !fd.IsList() {
			mark(m.Mutable(fd).Message())
			return
		}
	}
	panic("nothing can be set in " + string(m.Descriptor().FullName()))
}

// scalars are three of a kind; the first is its default.
func scalars(fd protoreflect.FieldDescriptor) []protoreflect.Value {
	of := protoreflect.ValueOf
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return []protoreflect.Value{of(false), of(true)}
	case protoreflect.Int32Kind:
		return []protoreflect.Value{of(int32(0)), of(int32(1)), of(int32(2))}
	case protoreflect.Int64Kind:
		return []protoreflect.Value{of(int64(0)), of(int64(1)), of(int64(2))}
	case protoreflect.DoubleKind:
		return []protoreflect.Value{of(0.0), of(0.5), of(1.0)}
	case protoreflect.StringKind:
		return []protoreflect.Value{of(""), of("v"), of("vv")}
	default:
		panic("no values of the kind " + fd.Kind().String())
	}
}

// cacheable are all requests that have a key.
func cacheable() []proto.Message {
	return []proto.Message{new(edgev1.CreateChatCompletionRequest), new(edgev1.CreateCompletionRequest), new(edgev1.CreateEmbeddingRequest)}
}

// TestEveryMemberCounts: every member of every message within a request, each kind of a
// oneof and those that are still to come, changes the key when it is set, changed or
// taken away, or stands on a list with the reason why not.
func TestEveryMemberCounts(t *testing.T) {
	met := make(map[string]bool)
	for _, req := range cacheable() {
		all := ways(req.ProtoReflect().Descriptor(), nil)
		if len(all) < 8 {
			t.Errorf("only %d members of %T", len(all), req)
		}
		for _, w := range all {
			met[w.name()] = true
			_, nothing := immaterial()[w.name()]
			_, loose := unordered()[w.name()]
			_, empty := hollow()[w.name()]
			without := proto.Clone(req)
			w.parent(without.ProtoReflect())
			keys := []respcache.Key{key(t, respcache.Scope{}, without)}
			for _, v := range values(w.parent(proto.Clone(req).ProtoReflect()), w.last()) {
				with := proto.Clone(req)
				w.parent(with.ProtoReflect()).Set(w.last(), v)
				before := proto.Clone(with)
				keys = append(keys, key(t, respcache.Scope{}, with))
				if !proto.Equal(with, before) {
					t.Fatalf("%T %s: the request was changed", req, w)
				}
			}
			for i := range keys {
				for j := range i {
					want := nothing || empty || loose && (i == 3 && j == 2 || i == 4 && j == 1)
					if same := keys[i] == keys[j]; same != want {
						t.Errorf("%T %s: the values %d and %d have one key: %t", req, w, j, i, same)
					}
				}
			}
		}
	}
	for _, list := range []map[string]string{immaterial(), hollow(), unordered()} {
		for name, why := range list {
			if !met[name] || why == "" {
				t.Errorf("%s is on a list, and no request has it, or there is no reason", name)
			}
		}
	}
}

// TestOnlyTheseHaveKeys: no other request of the API is kept, by accident or by being
// taken for another.
func TestOnlyTheseHaveKeys(t *testing.T) {
	with, all := make(map[protoreflect.FullName]bool), 0
	for _, req := range cacheable() {
		with[req.ProtoReflect().Descriptor().FullName()] = true
	}
	for _, file := range []protoreflect.FileDescriptor{
		edgev1.File_poterne_edge_v1_openai_proto, edgev1.File_poterne_edge_v1_messages_proto, edgev1.File_poterne_edge_v1_responses_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				in := methods.Get(j).Input()
				typ, err := messageType(in)
				if err != nil {
					t.Fatal(err)
				}
				all++
				if _, err := respcache.KeyOf(&respcache.Scope{}, typ.New().Interface()); (err == nil) != with[in.FullName()] {
					t.Errorf("%s: %v", in.FullName(), err)
				}
			}
		}
	}
	if all < 8 {
		t.Errorf("only %d methods", all)
	}
}

func messageType(d protoreflect.MessageDescriptor) (protoreflect.MessageType, error) {
	return protoregistry.GlobalTypes.FindMessageByName(d.FullName())
}
