package openai

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// world is all that an answer may depend on besides the request.
type world struct {
	serving    *inferencev1.ResolveServingResponse
	collection *searchv1.Collection
	caller     identity.Caller
	set        obligation.Set
	limits     obligation.Limits
	policy     string
	detectors  string
}

func newWorld() *world {
	return &world{
		serving:    &inferencev1.ResolveServingResponse{Model: "small", Version: 3, Digest: "sha256:3", Variants: []string{"sha256:v"}},
		collection: &searchv1.Collection{Id: "docs", Generation: 7},
		caller:     identity.NewCaller("acme", "ana", []string{"reader"}, []string{"law"}),
		policy:     "p1",
	}
}

func (w *world) GetCollection(context.Context, *searchv1.GetCollectionRequest, ...grpc.CallOption) (*searchv1.GetCollectionResponse, error) {
	c, _ := proto.Clone(w.collection).(*searchv1.Collection)
	return &searchv1.GetCollectionResponse{Collection: c}, nil
}

// resolving is an engine that says what would answer in a world.
type resolving struct {
	Inference
	in *world
}

func (r resolving) ResolveServing(context.Context, *inferencev1.ResolveServingRequest, ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error) {
	return r.in.serving, nil
}

// key is that of one request in a world.
func (w *world) key(t *testing.T) respcache.Key {
	t.Helper()
	s, ctx, _ := keeping(t, new(meter), sure{engine: new(engine)}, nil)
	s.Inference, s.Answers.Collections, s.Answers.Detectors = resolving{nil, w}, w, w.detectors
	record := audit.NewEntry("r")
	record.SetPolicy(w.policy, "rule")
	ctx = obligation.NewContext(audit.NewContext(identity.NewContext(ctx, w.caller), record))
	obligation.Note(ctx, w.set)
	obligation.NoteLimits(ctx, w.limits)
	req := hello()
	req.Retrieval = &edgev1.Retrieval{Collection: "docs"}
	p, err := s.planChat(ctx, req, new(rests))
	if err != nil || p == nil {
		t.Fatalf("no plan: %v", err)
	}
	return p.Key
}

// immaterial are what is in no key, each with the reason.
func immaterial() map[string]string {
	return map[string]string{
		"ResolveServingResponse.version":  "the digest says which it is",
		"ResolveServingResponse.revision": "it changes with everything in the registry",
		"ResolveServingResponse.basis":    "it says for which other requests the same was said",
		"Collection.document_count":       "an estimate, which is not always the same; the generation says what changed",
		"Collection.chunk_count":          "the same",
		"Caller.Subject":                  "callers of a tenant share answers; a rule's per_subject, and memory, put it in",
		"Caller.KeyID":                    "what a key may do is judged before, for every request",
		"Set.MaxTokens":                   "the request was changed by it before",
		"Set.Model":                       "the same",
		"Set.Review":                      "it marks the request's record",
	}
}

// TestAllThatAnAnswerDependsOnCounts: every member of what the key is made of, and each
// that is still to come, changes it or stands on the list with a reason.
func TestAllThatAnAnswerDependsOnCounts(t *testing.T) {
	worlds := map[string]*world{"nothing": newWorld()}
	messages := map[string]func(*world) protoreflect.Message{
		"serving":    func(w *world) protoreflect.Message { return w.serving.ProtoReflect() },
		"collection": func(w *world) protoreflect.Message { return w.collection.ProtoReflect() },
	}
	for _, of := range messages {
		d := of(newWorld()).Descriptor()
		for i := range d.Fields().Len() {
			w := newWorld()
			other(t, of(w), d.Fields().Get(i))
			worlds[string(d.Name())+"."+string(d.Fields().Get(i).Name())] = w
		}
	}
	for _, of := range []func(*world) any{
		func(w *world) any { return &w.caller }, func(w *world) any { return &w.set }, func(w *world) any { return &w.limits },
	} {
		typ := reflect.TypeOf(of(newWorld())).Elem()
		for i := range typ.NumField() {
			w := newWorld()
			vary(t, reflect.ValueOf(of(w)).Elem().Field(i))
			worlds[typ.Name()+"."+typ.Field(i).Name] = w
		}
	}
	worlds["policy"], worlds["detectors"] = newWorld(), newWorld()
	worlds["policy"].policy, worlds["detectors"].detectors = "p2", "d2"
	worlds["fewer classes"] = newWorld()
	worlds["fewer classes"].limits.Classes = &obligation.Classes{Except: true, Names: []string{"other"}, Unclassified: true}

	without := immaterial()
	before := worlds["nothing"].key(t)
	seen := map[respcache.Key]string{before: "nothing"}
	for _, name := range slices.Sorted(maps.Keys(worlds)) {
		if name == "nothing" {
			continue
		}
		k := worlds[name].key(t)
		if why, not := without[name]; not {
			if delete(without, name); k != before || why == "" {
				t.Errorf("%s counts, though it is on the list", name)
			}
			continue
		}
		if same, known := seen[k]; known {
			t.Errorf("%s and %s have one key", name, same)
		}
		seen[k] = name
	}
	if len(without) > 0 {
		t.Errorf("on the list, and nowhere else: %v", without)
	}
}

// other sets a field to something else than it is.
func other(t *testing.T, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	t.Helper()
	of := protoreflect.ValueOf
	switch {
	case fd.IsList() && fd.Message() == nil:
		m.Mutable(fd).List().Append(of("other"))
	case fd.IsList():
		m.Mutable(fd).List().AppendMutable()
	case fd.IsMap() || fd.Message() != nil:
		if fd.IsMap() {
			t.Fatalf("%s: a map", fd.FullName())
		}
		m.Mutable(fd)
	case fd.Kind() == protoreflect.StringKind:
		m.Set(fd, of(m.Get(fd).String()+" other"))
	case fd.Kind() == protoreflect.Int32Kind:
		m.Set(fd, of(int32(m.Get(fd).Int())+1))
	case fd.Kind() == protoreflect.Int64Kind:
		m.Set(fd, of(m.Get(fd).Int()+1))
	case fd.Kind() == protoreflect.EnumKind:
		m.Set(fd, protoreflect.ValueOfEnum(m.Get(fd).Enum()+1))
	case fd.Kind() == protoreflect.BoolKind:
		m.Set(fd, of(!m.Get(fd).Bool()))
	case fd.Kind() == protoreflect.DoubleKind:
		m.Set(fd, of(m.Get(fd).Float()+1))
	default:
		t.Fatalf("%s: no value of the kind %v", fd.FullName(), fd.Kind())
	}
}

func vary(t *testing.T, v reflect.Value) {
	t.Helper()
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p += " other"
	case *[]string:
		*p = append(slices.Clone(*p), "other")
	case *[]byte:
		*p = []byte("other")
	case *int32:
		*p++
	case *bool:
		*p = !*p
	case **obligation.Classes:
		*p = &obligation.Classes{Except: true, Names: []string{"secret"}, Unclassified: true}
	default:
		t.Fatalf("no value of the type %v", v.Type())
	}
}
