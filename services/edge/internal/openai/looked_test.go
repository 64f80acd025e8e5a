package openai

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
)

// unlooked is the fields that are not looked at, by the ends of their paths.
var unlooked = map[string]string{
	".model":                      "the gateway's own name of a model",
	".role":                       "one of four words",
	".id":                         "the gateway's own, of an answer; of a prompt, a name of the registry",
	".object":                     "the gateway's own",
	".version":                    "of the registry",
	".mode":                       "one of a few words",
	".collection":                 "a name within the gateway, which no model reads",
	".filter":                     "an expression that only search reads",
	".finish_reason":              "one of a few words",
	".cache.json":                 "what is asked of the response cache, which no engine reads",
	".annotations.type":           "the gateway's own",
	".annotations.document_id":    "what the reader may read is cited by its name",
	".annotations.chunk_id":       "as document_id",
	".annotations.chunk_ids":      "as document_id",
	".rerank.model":               "the gateway's own name of a model",
	".retrieval.variable":         "the name of a variable of the registry's",
	".retrieval.order":            "one of two words",
	".memory.conversation":        "a name within the gateway, which no model reads",
	".logprobs.json":              "left out where something was found, and of streams always",
	".encoding_format":            "one of two words",
	".input_type":                 "one of two words",
	"CreateEmbeddingRequest.user": "goes into the choice of an arm and to no engine",
}

func exempt(path string) bool {
	for end := range unlooked {
		if end == ".id" && strings.HasSuffix(path, ".tool_calls.id") {
			continue
		}
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// paths calls f with the way to each text in messages of d.
func paths(d protoreflect.MessageDescriptor, way []protoreflect.FieldDescriptor, f func([]protoreflect.FieldDescriptor)) {
	for _, above := range way {
		if above.ContainingMessage() == d {
			return
		}
	}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		next := slices.Concat(way, []protoreflect.FieldDescriptor{fd})
		switch {
		case fd.IsMap() || fd.Kind() == protoreflect.StringKind:
			f(next)
		case fd.Message() != nil:
			paths(fd.Message(), next, f)
		}
	}
}

// put puts a text at the end of the way into m.
func put(m protoreflect.Message, way []protoreflect.FieldDescriptor, text string) {
	fd := way[0]
	raw := strings.HasSuffix(string(fd.Parent().FullName()), "RawJson") || fd.Name() == "arguments"
	if raw || fd.Name() == "extra" {
		text = `"` + text + `"`
	}
	switch {
	case fd.IsMap():
		m.Mutable(fd).Map().Set(protoreflect.ValueOfString("x").MapKey(), protoreflect.ValueOfString(text))
	case fd.IsList() && fd.Message() != nil:
		put(m.Mutable(fd).List().AppendMutable().Message(), way[1:], text)
	case fd.IsList():
		m.Mutable(fd).List().Append(protoreflect.ValueOfString(text))
	case fd.Message() != nil:
		put(m.Mutable(fd).Message(), way[1:], text)
	default:
		m.Set(fd, protoreflect.ValueOfString(text))
	}
}

// noHeader has calls tell nobody what was taken out.
type noHeader struct{ grpc.ServerTransportStream }

func (noHeader) Method() string              { return "" }
func (noHeader) SetHeader(metadata.MD) error { return nil }

type uncounted struct{}

func (uncounted) Detected(context.Context, string, string, string) {}

// Every text of a request to a model, and of its answer, is looked at, but for
// those that are listed with a reason: a new field is not forgotten.
func TestEveryTextIsLookedAt(t *testing.T) {
	rules := detect.Config{Rules: []detect.Rule{{Kinds: []string{"pii/email"}, Action: detect.Redact}}}
	s := &Server{Deps: Deps{Inspector: inspect.New(detect.NewRules(rules, detect.All()), uncounted{})}}
	ctx := grpc.NewContextWithServerTransportStream(t.Context(), noHeader{})
	none := func(metadata.MD) error { return nil }
	for _, look := range []func(proto.Message) (proto.Message, error){
		func(m proto.Message) (proto.Message, error) {
			req := new(edgev1.CreateChatCompletionRequest)
			proto.Merge(req, orNil(m, req))
			_, err := s.inspectChat(ctx, req, none)
			return req, err
		},
		func(m proto.Message) (proto.Message, error) {
			resp := new(edgev1.CreateChatCompletionResponse)
			proto.Merge(resp, orNil(m, resp))
			return resp, s.inspectAnswer(ctx, "m", resp)
		},
		func(m proto.Message) (proto.Message, error) {
			chunk := new(edgev1.StreamChatCompletionResponse)
			proto.Merge(chunk, orNil(m, chunk))
			f := newFilter(s.Inspector.Of(ctx, detect.Answer, "m"), 1)
			f.chat(chunk)
			chunk.Choices = append(chunk.Choices, f.chatEnd()...)
			return chunk, nil
		},
		func(m proto.Message) (proto.Message, error) {
			req := new(edgev1.CreateCompletionRequest)
			proto.Merge(req, orNil(m, req))
			return req, s.inspectContinue(ctx, req, none)
		},
		func(m proto.Message) (proto.Message, error) {
			resp := new(edgev1.CreateCompletionResponse)
			proto.Merge(resp, orNil(m, resp))
			return resp, s.inspectCompletion(ctx, "m", resp)
		},
		func(m proto.Message) (proto.Message, error) {
			chunk := new(edgev1.CreateCompletionResponse)
			proto.Merge(chunk, orNil(m, chunk))
			f := newFilter(s.Inspector.Of(ctx, detect.Answer, "m"), 1)
			f.completion(chunk)
			chunk.Choices = append(chunk.Choices, f.completionEnd()...)
			return chunk, nil
		},
		func(m proto.Message) (proto.Message, error) {
			req := new(edgev1.CreateEmbeddingRequest)
			proto.Merge(req, orNil(m, req))
			return req, s.inspectInput(ctx, "m", fieldInput, req.GetInput(), req.GetExtra(), none)
		},
	} {
		empty, err := look(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := empty.ProtoReflect().Descriptor()
		paths(d, nil, func(way []protoreflect.FieldDescriptor) {
			path := string(d.Name())
			for _, fd := range way {
				path += "." + string(fd.Name())
			}
			m := empty.ProtoReflect().New()
			put(m, way, "write to ada@example.com ")
			out, err := look(m.Interface())
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			text := protojson.MarshalOptions{}.Format(out)
			if strings.Contains(text, "ada@example.com") && !exempt(path) {
				t.Errorf("%s is not looked at: %s", path, text)
			}
		})
	}
}

// orNil is m, or for nil a message without anything.
func orNil(m, empty proto.Message) proto.Message {
	if m == nil {
		return empty.ProtoReflect().New().Interface()
	}
	return m
}
