package allinone

import (
	"runtime"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/poterne/poterne/pkg/grpcserver"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// TestValidatorTakesLittle holds that a validator knows only the types that it is asked about.
func TestValidatorTakesLittle(t *testing.T) {
	before := held()
	v := grpcserver.LazyValidator()
	if err := v.Validate(new(commonv1.TokenUsage)); err != nil {
		t.Fatal(err)
	}
	if grown := held() - before; grown > 2<<20 {
		t.Errorf("a validator holds %d KB", grown>>10)
	}
	runtime.KeepAlive(v)
}

// TestEveryRuleCompiles holds that a rule needs no more types than its own message's.
func TestEveryRuleCompiles(t *testing.T) {
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var look func(all protoreflect.MessageDescriptors)
	look = func(all protoreflect.MessageDescriptors) {
		for i := range all.Len() {
			d := all.Get(i)
			if d.IsMapEntry() {
				continue
			}
			seen++
			msg := oneOfEach(d)
			err := v.Validate(msg)
			if _, bad := err.(*protovalidate.CompilationError); bad { //nolint:errorlint // the very value
				t.Errorf("%s: %v", d.FullName(), err)
			}
			if _, bad := err.(*protovalidate.RuntimeError); bad { //nolint:errorlint // the very value
				t.Errorf("%s: %v", d.FullName(), err)
			}
			look(d.Messages())
		}
	}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "poterne.") {
			look(file.Messages())
		}
		return true
	})
	if seen < 500 {
		t.Fatalf("%d messages were looked at", seen)
	}
}

// oneOfEach is a message with one of each member, so that every rule runs.
func oneOfEach(d protoreflect.MessageDescriptor) proto.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		switch {
		case f.IsMap():
		case f.IsList():
			m.Mutable(f).List().Append(m.Mutable(f).List().NewElement())
		case f.Message() != nil:
			m.Mutable(f)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("a"))
		default:
			m.Set(f, m.NewField(f))
		}
	}
	return m
}

func held() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
