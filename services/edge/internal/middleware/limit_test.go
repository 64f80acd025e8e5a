package middleware

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/enduser"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// input returns an empty request of a method.
func input(t *testing.T, method string) proto.Message {
	t.Helper()
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := d.(protoreflect.ServiceDescriptor)
	m, err := protoregistry.GlobalTypes.FindMessageByName(s.Methods().ByName(protoreflect.Name(name)).Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	return m.New().Interface()
}

// Every request to a model of words has a user, and limits find it in each shape.
func TestLimitsFindTheUserOfEveryShape(t *testing.T) {
	looked := 0
	for method, class := range limit.Table() {
		if class != limit.Generate && class != limit.Embed {
			continue
		}
		looked++
		req := input(t, method)
		if got := enduser.Of(req); got != "" {
			t.Errorf("%s: an empty request is for %q", method, got)
		}
		if m, ok := req.(*edgev1.CreateMessageRequest); ok {
			m.Metadata = &edgev1.MessageMetadata{UserId: "zed"}
		} else if f := req.ProtoReflect().Descriptor().Fields().ByName("user"); f != nil {
			req.ProtoReflect().Set(f, protoreflect.ValueOfString("zed"))
		}
		if got := enduser.Of(req); got != "zed" {
			t.Errorf("%s: the user is %q", method, got)
		}
	}
	if looked < 10 {
		t.Errorf("only %d methods were looked at", looked)
	}
	for raw, want := range map[string]string{`"zed"`: "zed", `"z\u0065d"`: "zed", `null`: "", `7`: "", `{`: "", `"zed","user":"ada"`: ""} {
		if got := enduser.Of(&edgev1.CreateMessageRequest{Extra: map[string]string{"user": raw}}); got != want {
			t.Errorf("%s is read as %q", raw, got)
		}
	}
}
