// Package grpcserver runs a gRPC server with explicit limits, health,
// reflection, and a named chain of interceptors. It knows no service; start
// reading at New, and at Standard for the interceptors it offers.
package grpcserver

import (
	"context"

	"google.golang.org/grpc"
)

// Interceptor is one named step that every call passes. Either function may be
// nil, which passes such calls on unchanged.
type Interceptor struct {
	Name   string
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
}

// Chain is the steps in order, the first outermost.
type Chain []Interceptor

// Names returns the names in order, for a test to compare.
func (c Chain) Names() []string {
	names := make([]string, len(c))
	for i, s := range c {
		names[i] = s.Name
	}
	return names
}

// Unary returns the whole chain as one interceptor.
func (c Chain) Unary() grpc.UnaryServerInterceptor {
	var steps []grpc.UnaryServerInterceptor
	for _, s := range c {
		if s.Unary != nil {
			steps = append(steps, s.Unary)
		}
	}
	if len(steps) == 0 {
		return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return handler(ctx, req)
		}
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		c := &unaryCall{steps: steps, info: info, handler: handler}
		return c.pass(0, ctx, req)
	}
}

// unaryCall is a call on its way through a chain. A step may run what is inside of it more
// than once, or at the same time.
type unaryCall struct {
	steps   []grpc.UnaryServerInterceptor
	info    *grpc.UnaryServerInfo
	handler grpc.UnaryHandler
}

func (c *unaryCall) pass(at int, ctx context.Context, req any) (any, error) { //nolint:revive // which step is the call's own
	inner := c.handler
	if next := at + 1; next < len(c.steps) {
		inner = func(ctx context.Context, req any) (any, error) { return c.pass(next, ctx, req) }
	}
	return c.steps[at](ctx, req, c.info, inner)
}

// Stream returns the whole chain as one interceptor.
func (c Chain) Stream() grpc.StreamServerInterceptor {
	var steps []grpc.StreamServerInterceptor
	for _, s := range c {
		if s.Stream != nil {
			steps = append(steps, s.Stream)
		}
	}
	if len(steps) == 0 {
		return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, ss)
		}
	}
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		c := &streamCall{steps: steps, info: info, handler: handler}
		return c.pass(0, srv, ss)
	}
}

// streamCall is unaryCall of a stream.
type streamCall struct {
	steps   []grpc.StreamServerInterceptor
	info    *grpc.StreamServerInfo
	handler grpc.StreamHandler
}

func (c *streamCall) pass(at int, srv any, ss grpc.ServerStream) error {
	inner := c.handler
	if next := at + 1; next < len(c.steps) {
		inner = func(srv any, ss grpc.ServerStream) error { return c.pass(next, srv, ss) }
	}
	return c.steps[at](srv, ss, c.info, inner)
}

// WithContext returns ss with another context, for a stream interceptor that
// adds to it.
func WithContext(ss grpc.ServerStream, ctx context.Context) grpc.ServerStream { //nolint:revive // reads as ss.WithContext
	return &contextStream{ServerStream: ss, ctx: ctx}
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a ServerStream is asked for its context
}

func (s *contextStream) Context() context.Context { return s.ctx }
