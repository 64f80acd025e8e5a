package middleware

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// errDeadline is the cause that a handler sees when its class's time is over.
var errDeadline = errors.New("the gateway's time for this kind of request is over")

// deadline bounds the time of every request by its class, or where it is like no
// other of its class by its method: one without a
// deadline gets the class's, and one with a later deadline is held to it.
func (s *steps) deadline() grpcserver.Interceptor {
	bounded := func(ctx context.Context, method string) (context.Context, context.CancelFunc) {
		return inhand.WithTimeoutCause(ctx, s.Config.Deadlines.of(method, s.Classes[method]), errDeadline)
	}
	return grpcserver.Interceptor{
		Name: NameDeadline,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			ctx, cancel := bounded(ctx, info.FullMethod)
			defer cancel()
			return handler(ctx, req)
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, cancel := bounded(ss.Context(), info.FullMethod)
			defer cancel()
			return handler(srv, grpcserver.WithContext(ss, ctx))
		},
	}
}
