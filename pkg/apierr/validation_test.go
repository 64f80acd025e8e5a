package apierr_test

import (
	"reflect"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestFromProtovalidate(t *testing.T) {
	violation := func(message string, path ...*validate.FieldPathElement) *protovalidate.Violation {
		return &protovalidate.Violation{Proto: &validate.Violation{
			Message: new(message), Field: &validate.FieldPath{Elements: path},
		}}
	}
	err := &protovalidate.ValidationError{Violations: []*protovalidate.Violation{
		violation("must not be empty",
			&validate.FieldPathElement{FieldName: new("messages"), Subscript: &validate.FieldPathElement_Index{Index: 2}},
			&validate.FieldPathElement{FieldName: new("role")}),
		violation("is too long",
			&validate.FieldPathElement{FieldName: new("metadata"), Subscript: &validate.FieldPathElement_StringKey{StringKey: "a.b"}}),
		violation("is odd"),
	}}
	got := apierr.From(err)
	want := []apierr.Violation{
		{Field: "messages[2].role", Description: "must not be empty"},
		{Field: `metadata["a.b"]`, Description: "is too long"},
		{Field: "", Description: "is odd"},
	}
	if got.Reason != apierr.InvalidArgument || !reflect.DeepEqual(got.Violations, want) {
		t.Fatalf("From = %+v", got)
	}
	if got.Field != "messages[2].role" || got.Message != `messages[2].role must not be empty; metadata["a.b"] is too long; is odd` {
		t.Fatalf("field %q, message %q", got.Field, got.Message)
	}
}
