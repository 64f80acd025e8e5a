package edge_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// TestChainOrder is the order in which every request is judged.
func TestChainOrder(t *testing.T) {
	want := []string{
		"recover", "request id", "telemetry", "audit", "address-limit", "authenticate", "authorise", "validate", "limit", "intent", "deadline",
	}
	if got := open(t, nil).Interceptors().Names(); !slices.Equal(got, want) {
		t.Errorf("the chain is %v, want %v", got, want)
	}
}

// recorder remembers what is registered.
type recorder struct{ methods []string }

func (r *recorder) RegisterService(d *grpc.ServiceDesc, _ any) {
	for _, m := range d.Methods {
		r.methods = append(r.methods, "/"+d.ServiceName+"/"+m.MethodName)
	}
	for _, s := range d.Streams {
		r.methods = append(r.methods, "/"+d.ServiceName+"/"+s.StreamName)
	}
}

// TestEveryMethodIsInTheTables fails for a method that is served and of which
// nobody has said who may call it, and what it costs.
func TestEveryMethodIsInTheTables(t *testing.T) {
	served := new(recorder)
	open(t, nil).RegisterGRPC(served)
	for _, d := range []*grpc.ServiceDesc{
		&grpc_health_v1.Health_ServiceDesc, &reflectionv1.ServerReflection_ServiceDesc, &reflectionv1alpha.ServerReflection_ServiceDesc,
	} {
		served.RegisterService(d, nil)
	}
	if len(served.methods) < 35 {
		t.Fatalf("only %d methods are served: %v", len(served.methods), served.methods)
	}
	methods, classes := authz.Table(), limit.Table()
	for _, m := range served.methods {
		if _, ok := methods[m]; !ok {
			t.Errorf("%s is not in the authorisation table", m)
		}
		if _, ok := classes[m]; !ok {
			t.Errorf("%s is not in the limit table", m)
		}
	}
	if slices.Contains(served.methods, "/poterne.registry.v1.RegistryService/Watch") {
		t.Error("the registry's Watch is offered")
	}
}

// TestEveryRequestIsValidated fails for a request with a field that takes
// anything a client sends, however much.
func TestEveryRequestIsValidated(t *testing.T) {
	served := new(recorder)
	open(t, nil).RegisterGRPC(served)
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range served.methods {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(
			protoreflect.FullName(strings.ReplaceAll(name[1:], "/", ".")))
		if err != nil {
			t.Fatal(err)
		}
		method, ok := found.(protoreflect.MethodDescriptor)
		if !ok {
			t.Fatalf("%s is no method", name)
		}
		in := method.Input()
		// What is wrong with a message is a ValidationError; what is wrong with its
		// rules is not.
		var invalid *protovalidate.ValidationError
		if err := validator.Validate(dynamicpb.NewMessage(in)); err != nil && !errors.As(err, &invalid) {
			t.Errorf("%s: the rules of %s do not compile: %v", name, in.FullName(), err)
		}
		if in.Fields().Len() > 0 && !hasRule(in) {
			t.Errorf("%s: no field of %s has a rule", name, in.FullName())
		}
	}
}

func hasRule(md protoreflect.MessageDescriptor) bool {
	for i := range md.Fields().Len() {
		if rules, ok := proto.GetExtension(md.Fields().Get(i).Options(), validate.E_Field).(*validate.FieldRules); ok && rules != nil {
			return true
		}
	}
	return false
}
