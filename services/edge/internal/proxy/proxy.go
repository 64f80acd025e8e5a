// Package proxy serves the contract of a backend by asking that backend, so
// that the edge's chain stands in front of it and REST and gRPC reach it alike.
// The caller's identity, deadline and trace travel with the connection that it
// is given. It knows no service by name; start reading at Register.
package proxy

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// Register serves the service that desc describes on r, by asking backend: every
// unary method, and those streams that are named. Of another stream a client is
// told UNIMPLEMENTED.
func Register(r grpc.ServiceRegistrar, desc *grpc.ServiceDesc, backend grpc.ClientConnInterface, streams ...string) error {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		return fmt.Errorf("proxy: %s: %w", desc.ServiceName, err)
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return fmt.Errorf("proxy: %s is no service", desc.ServiceName)
	}
	out := &grpc.ServiceDesc{
		ServiceName: desc.ServiceName, HandlerType: (*any)(nil), Metadata: desc.Metadata,
	}
	for i := range service.Methods().Len() {
		md := service.Methods().Get(i)
		streaming := md.IsStreamingClient() || md.IsStreamingServer()
		if streaming && !slices.Contains(streams, fullName(md)) {
			continue
		}
		m, err := newMethod(md, backend)
		if err != nil {
			return err
		}
		if streaming {
			out.Streams = append(out.Streams, grpc.StreamDesc{
				StreamName: string(md.Name()), Handler: m.stream,
				ClientStreams: md.IsStreamingClient(), ServerStreams: md.IsStreamingServer(),
			})
			continue
		}
		out.Methods = append(out.Methods, grpc.MethodDesc{MethodName: string(md.Name()), Handler: m.handle})
	}
	r.RegisterService(out, backend)
	return nil
}

// method is one method of a backend.
type method struct {
	full        string
	service     string
	in, outType protoreflect.MessageType
	backend     grpc.ClientConnInterface
}

func newMethod(md protoreflect.MethodDescriptor, backend grpc.ClientConnInterface) (*method, error) {
	in, err := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
	if err != nil {
		return nil, fmt.Errorf("proxy: %s: %w", md.FullName(), err)
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
	if err != nil {
		return nil, fmt.Errorf("proxy: %s: %w", md.FullName(), err)
	}
	return &method{full: fullName(md), service: string(md.Parent().FullName()), in: in, outType: out, backend: backend}, nil
}

func fullName(md protoreflect.MethodDescriptor) string {
	return "/" + string(md.Parent().FullName()) + "/" + string(md.Name())
}

// handle is a method's handler as generated code has it.
func (m *method) handle(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // grpc's own order
	req := m.in.New().Interface()
	if err := decode(req); err != nil {
		return nil, err
	}
	if interceptor == nil {
		return m.forward(ctx, req)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: m.full}
	return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		msg, ok := req.(proto.Message)
		if !ok {
			return nil, fmt.Errorf("proxy: %s: %T is no message", m.full, req)
		}
		return m.forward(ctx, msg)
	})
}

// explain notes which service is asked.
func (m *method) explain(ctx context.Context) {
	at := [1]explain.Attribute{{Name: "service", Value: m.service}}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Serving, Outcome: "asked", Attributes: at[:]})
}

func (m *method) forward(ctx context.Context, req proto.Message) (any, error) {
	resp := m.outType.New().Interface()
	m.explain(ctx)
	if err := m.backend.Invoke(ctx, m.full, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}
