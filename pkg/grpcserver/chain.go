// Package grpcserver runs a gRPC server with explicit limits, health,
// reflection, and a named chain of interceptors. It knows no service; start
// reading at New, and at Standard for the interceptors it offers.
package grpcserver

import (
	"context"

	"google.golang.org/grpc"
)

// Interceptor is one named step that every call passes. Functions may be nil, which
// passes such calls on unchanged.
type Interceptor struct {
	Name string
	// Unary is around a unary call. A step that does something only before what is inside
	// of it, or after it, has Enter and Leave instead: the chain calls them one after
	// another, and makes no function of what is inside.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
	// Enter returns the context that a unary call goes on with; an error ends the call.
	Enter func(ctx context.Context, req any, info *grpc.UnaryServerInfo) (context.Context, error)
	// Leave is given Enter's context, and returns what comes of a unary call that went on.
	// It is not called when what is inside panics.
	Leave func(ctx context.Context, req, resp any, err error) (any, error)
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
	var steps []Interceptor
	for _, s := range c {
		if s.Unary != nil || s.Enter != nil || s.Leave != nil {
			steps = append(steps, s)
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
	steps   []Interceptor
	info    *grpc.UnaryServerInfo
	handler grpc.UnaryHandler
}

func (c *unaryCall) pass(at int, ctx context.Context, req any) (any, error) { //nolint:revive // which step is the call's own
	for ; at < len(c.steps); at++ {
		s := &c.steps[at]
		if s.Unary != nil {
			return s.Unary(ctx, req, c.info, c.inner(at+1))
		}
		if s.Enter != nil {
			var err error
			if ctx, err = s.Enter(ctx, req, c.info); err != nil {
				return nil, err
			}
		}
		if s.Leave != nil {
			resp, err := c.pass(at+1, ctx, req)
			return s.Leave(ctx, req, resp, err)
		}
	}
	return c.handler(ctx, req)
}

// inner is what is inside of the step before the one at an index.
func (c *unaryCall) inner(at int) grpc.UnaryHandler {
	if at == len(c.steps) {
		return c.handler
	}
	return func(ctx context.Context, req any) (any, error) { return c.pass(at, ctx, req) }
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
