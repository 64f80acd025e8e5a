// Package grpcserver runs a gRPC server with explicit limits, health,
// reflection, and a named chain of interceptors. It knows no service; start
// reading at New, and at Standard for the interceptors it offers.
package grpcserver

import (
	"context"
	"slices"

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
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for _, step := range slices.Backward(steps) {
			step, next := step, handler
			handler = func(ctx context.Context, req any) (any, error) { return step(ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

// Stream returns the whole chain as one interceptor.
func (c Chain) Stream() grpc.StreamServerInterceptor {
	var steps []grpc.StreamServerInterceptor
	for _, s := range c {
		if s.Stream != nil {
			steps = append(steps, s.Stream)
		}
	}
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		for _, step := range slices.Backward(steps) {
			step, next := step, handler
			handler = func(srv any, ss grpc.ServerStream) error { return step(srv, ss, info, next) }
		}
		return handler(srv, ss)
	}
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
