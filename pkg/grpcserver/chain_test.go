package grpcserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/telemetry"
)

func TestChainRunsInOrder(t *testing.T) {
	var trail []string
	step := func(name string) grpcserver.Interceptor {
		return grpcserver.Interceptor{
			Name: name,
			Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				trail = append(trail, name)
				return h(ctx, req)
			},
			Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
				trail = append(trail, name)
				return h(srv, ss)
			},
		}
	}
	chain := grpcserver.Chain{step("a"), {Name: "nothing"}, step("b")}
	if !slices.Equal(chain.Names(), []string{"a", "nothing", "b"}) {
		t.Fatalf("Names = %v", chain.Names())
	}
	unary := chain.Unary()
	for range 2 { // the chain must not grow from call to call
		trail = nil
		got, err := unary(t.Context(), "req", nil, func(_ context.Context, req any) (any, error) {
			trail = append(trail, "handler")
			return req, nil
		})
		if got != "req" || err != nil || !slices.Equal(trail, []string{"a", "b", "handler"}) {
			t.Fatalf("unary: %v %v %v", got, err, trail)
		}
	}
	trail = nil
	err := chain.Stream()(nil, nil, nil, func(any, grpc.ServerStream) error { trail = append(trail, "handler"); return nil })
	if err != nil || !slices.Equal(trail, []string{"a", "b", "handler"}) {
		t.Fatalf("stream: %v %v", err, trail)
	}
}

func TestStepsInTwoPartsAreAroundWhatIsInside(t *testing.T) {
	type key struct{}
	var trail []string
	refuse := errors.New("refused")
	before := func(name string, err error) grpcserver.Interceptor {
		return grpcserver.Interceptor{Enter: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo) (context.Context, error) {
			trail = append(trail, fmt.Sprint("enter ", name, " of ", req))
			return context.WithValue(ctx, key{}, name), err
		}}
	}
	after := func(name string) grpcserver.Interceptor {
		return grpcserver.Interceptor{Leave: func(ctx context.Context, _, resp any, err error) (any, error) {
			trail = append(trail, "leave "+name)
			if from, _ := ctx.Value(key{}).(string); err == nil {
				resp = fmt.Sprint(resp, " ", name, from)
			}
			return resp, err
		}}
	}
	both := before("c", nil)
	both.Leave = after("c").Leave
	twice := grpcserver.Interceptor{Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if _, err := h(ctx, req); err != nil {
			return nil, err
		}
		return h(ctx, req)
	}}
	handler := func(ctx context.Context, _ any) (any, error) {
		from, _ := ctx.Value(key{}).(string)
		trail = append(trail, "handler")
		return "answer" + from, nil
	}
	for _, tt := range []struct {
		chain grpcserver.Chain
		want  any
		err   error
		trail []string
	}{
		{grpcserver.Chain{}, "answer", nil, []string{"handler"}},
		{grpcserver.Chain{after("a"), before("b", nil), both}, "answerc cc a", nil, []string{"enter b of x", "enter c of x", "handler", "leave c", "leave a"}},
		{grpcserver.Chain{after("a"), before("b", refuse), both}, nil, refuse, []string{"enter b of x", "leave a"}},
		{grpcserver.Chain{twice, both}, "answerc cc", nil, []string{"enter c of x", "handler", "leave c", "enter c of x", "handler", "leave c"}},
	} {
		trail = nil
		got, err := tt.chain.Unary()(t.Context(), "x", nil, handler)
		if got != tt.want || !errors.Is(err, tt.err) || !slices.Equal(trail, tt.trail) {
			t.Errorf("%v, %v, %q; want %v, %v, %q", got, err, trail, tt.want, tt.err, tt.trail)
		}
	}
}

func TestStandardOrder(t *testing.T) {
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{Telemetry: telemetry.Discard(), Clock: clock.Real(), IDs: ids.UUIDv7()})
	if err != nil || !slices.Equal(chain.Names(), []string{"recover", "request id", "telemetry", "errors", "validate"}) {
		t.Fatalf("Standard = %v, %v", chain.Names(), err)
	}
}

// ruled returns a message of a type with rules: name must not be empty, and
// count must be positive.
func ruled(t *testing.T, name string, count int64) proto.Message {
	t.Helper()
	rule := func(r *validate.FieldRules) *descriptorpb.FieldOptions {
		o := new(descriptorpb.FieldOptions)
		proto.SetExtension(o, validate.E_Field, r)
		return o
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("ruled.proto"), Syntax: new("proto3"), Dependency: []string{"buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: new("Ruled"),
			Field: []*descriptorpb.FieldDescriptorProto{
				{
					Name: new("name"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
					Options: rule(&validate.FieldRules{Type: &validate.FieldRules_String_{String_: &validate.StringRules{MinLen: proto.Uint64(1)}}}),
				},
				{
					Name: new("count"), Number: proto.Int32(2), Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(),
					Options: rule(&validate.FieldRules{Type: &validate.FieldRules_Int64{Int64: &validate.Int64Rules{GreaterThan: &validate.Int64Rules_Gt{Gt: 0}}}}),
				},
			},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	d := file.Messages().Get(0)
	m := dynamicpb.NewMessage(d)
	m.Set(d.Fields().ByName("name"), protoreflect.ValueOfString(name))
	m.Set(d.Fields().ByName("count"), protoreflect.ValueOfInt64(count))
	return m
}

type oneMessage struct {
	grpc.ServerStream
	m proto.Message
}

func (s oneMessage) RecvMsg(m any) error {
	out, ok := m.(proto.Message)
	if !ok {
		return errors.New("not a message")
	}
	proto.Merge(out, s.m)
	return nil
}

func TestValidateNamesEveryViolation(t *testing.T) {
	step := grpcserver.Validate(grpcserver.LazyValidator())
	unary := grpcserver.Chain{step}.Unary()
	reached := false
	call := func(m proto.Message) error {
		_, err := unary(t.Context(), m, nil, func(context.Context, any) (any, error) { reached = true; return nil, nil })
		return err
	}
	if err := call(ruled(t, "x", 1)); err != nil || !reached {
		t.Fatalf("a good message: %v", err)
	}
	reached = false
	bad := ruled(t, "", 0)
	err := call(bad)
	e := apierr.From(err)
	if reached || e.Reason != apierr.InvalidArgument || len(e.Violations) != 2 || e.Violations[0].Field != "name" || e.Violations[1].Field != "count" {
		t.Fatalf("a bad message: %+v", e)
	}
	err = step.Stream(nil, oneMessage{m: bad}, nil, func(_ any, ss grpc.ServerStream) error { return ss.RecvMsg(bad.ProtoReflect().New().Interface()) })
	if apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Fatalf("a bad message in a stream: %v", err)
	}
	if _, err := unary(t.Context(), "no message", nil, func(context.Context, any) (any, error) { return nil, errors.New("reached") }); err == nil || err.Error() != "reached" {
		t.Fatalf("not a message: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	var p config.Problems
	grpcserver.DefaultConfig("127.0.0.1:0").Validate(&p, "grpc")
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	grpcserver.Config{Addr: "nine", MaxConnectionAge: -1}.Validate(&p, "grpc")
	if err := p.Err(); err == nil || strings.Count(err.Error(), "\n") != 19 {
		t.Fatalf("Validate = %v, want 19 problems", err)
	}
}
