package search_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// boundedElsewhere are the fields that no rule bounds, and what does.
func boundedElsewhere() map[string]string {
	const document = "checked document by document: ingest.Check, so that a bad one fails alone"
	const number = "a name: one that there is not is NOT_FOUND"
	return map[string]string{
		"Document.id": document, "Document.title": document, "Document.text": document, "Document.metadata": document,
		"Document.content": document, "Document.content_type": document, "AccessList.principals": document,
		"Document.content_hash":                "not read from requests",
		"FacetRange.from":                      "a number, or a moment, whose length is known",
		"FacetRange.to":                        "a number, or a moment, whose length is known",
		"GetEmbeddingGenerationRequest.number": number, "ServeEmbeddingGenerationRequest.number": number,
		"DeleteEmbeddingGenerationRequest.number": number,
	}
}

// TestEveryFieldOfARequestIsBounded walks all that clients can send: whatever may
// be long, many or large has a rule, and the rule refuses what is beyond it.
func TestEveryFieldOfARequestIsBounded(t *testing.T) {
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, used := boundedElsewhere(), make(map[string]bool)
	seen := make(map[protoreflect.FullName]bool)
	var walk func(md protoreflect.MessageDescriptor)
	walk = func(md protoreflect.MessageDescriptor) {
		if seen[md.FullName()] || md.ParentFile().Package() == "google.protobuf" {
			return
		}
		seen[md.FullName()] = true
		for i := range md.Fields().Len() {
			f := md.Fields().Get(i)
			name := string(md.Name()) + "." + string(f.Name())
			if _, ok := elsewhere[name]; ok {
				used[name] = true
			} else if wrong := unbounded(validator, f); wrong != "" {
				t.Errorf("%s: %s", name, wrong)
			}
			if f.Message() != nil {
				walk(f.Message())
			}
		}
	}
	methods := searchv1.File_poterne_search_v1_search_proto.Services().ByName("SearchService").Methods()
	for i := range methods.Len() {
		walk(methods.Get(i).Input())
	}
	for name := range elsewhere {
		if !used[name] {
			t.Errorf("%s is no field of a request", name)
		}
	}
}

// unbounded says why a field takes too much; "" when it does not.
func unbounded(v protovalidate.Validator, f protoreflect.FieldDescriptor) string {
	rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	var large []protoreflect.Value
	of := func(values ...any) {
		for _, value := range values {
			large = append(large, protoreflect.ValueOf(value))
		}
	}
	switch {
	case f.IsMap():
		return "maps are not bounded by this test"
	case f.IsList():
		if rules.GetRepeated().GetMaxItems() == 0 {
			return "there may be any number of them"
		}
		return ""
	case f.Kind() == protoreflect.BoolKind, f.Kind() == protoreflect.MessageKind, f.Kind() == protoreflect.EnumKind:
		return ""
	case f.Kind() == protoreflect.StringKind:
		of(strings.Repeat("a", 1<<20))
	case f.Kind() == protoreflect.BytesKind:
		if rules.GetBytes().GetMaxLen() == 0 {
			return "it may be of any length"
		}
		return ""
	case f.Kind() == protoreflect.Int32Kind:
		of(int32(math.MaxInt32), int32(math.MinInt32))
	case f.Kind() == protoreflect.Int64Kind:
		of(int64(math.MaxInt64), int64(math.MinInt64))
	case f.Kind() == protoreflect.DoubleKind:
		of(math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.NaN())
	default:
		return fmt.Sprintf("a %v is not known to this test", f.Kind())
	}
	for _, value := range large {
		m := dynamicpb.NewMessage(f.ContainingMessage())
		m.Set(f, value)
		var violated []string
		if invalid, ok := v.Validate(m).(*protovalidate.ValidationError); ok { //nolint:errorlint // not wrapped
			for _, violation := range invalid.Violations {
				violated = append(violated, protovalidate.FieldPathString(violation.Proto.GetField()))
			}
		}
		if !slices.Contains(violated, string(f.Name())) {
			return fmt.Sprintf("it takes %.40v…", value)
		}
	}
	return ""
}
