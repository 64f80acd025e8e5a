package agent

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// wholeUsage is counts of which each field has a value of its own.
func wholeUsage(t *testing.T) *commonv1.TokenUsage {
	t.Helper()
	out := new(commonv1.TokenUsage)
	m := out.ProtoReflect()
	for i, fields := 0, m.Descriptor().Fields(); i < fields.Len(); i++ {
		switch f := fields.Get(i); f.Kind() {
		case protoreflect.Int32Kind:
			m.Set(f, protoreflect.ValueOfInt32(int32(f.Number())+100))
		case protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(true))
		default:
			t.Fatalf("this test sets no %v, as %s is", f.Kind(), f.Name())
		}
	}
	return out
}

// told keeps the counts that are sent.
type told struct {
	grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]
	usage *commonv1.TokenUsage
}

// Send takes a message.
func (s *told) Send(m *workerv1.InvokeStreamResponse) error {
	s.usage = m.GetUsage()
	return nil
}

// A class of tokens that is added to the contract is told with the chunks as well, and the
// counts that were told do not change when the engine's do.
func TestChunksTellEveryCount(t *testing.T) {
	want := wholeUsage(t)
	to := &told{}
	s := &sink{stream: to, usage: proto.CloneOf(want)}
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	s.usage.PromptTokens++
	if !proto.Equal(to.usage, want) {
		t.Errorf("told %v, want %v", to.usage, want)
	}
}

// What another worker had counted is taken off each class.
func TestEveryCountIsWithoutTheBeginning(t *testing.T) {
	total, begun := wholeUsage(t), wholeUsage(t)
	left := without(total, begun).ProtoReflect()
	left.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		t.Errorf("%s is %v after as much was taken off", f.Name(), v)
		return true
	})
	total.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Kind() == protoreflect.Int32Kind && without(total, &commonv1.TokenUsage{}).ProtoReflect().Get(f).Int() == 0 {
			t.Errorf("%s is lost", f.Name())
		}
		return true
	})
}
