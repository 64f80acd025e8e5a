package grpcserver

import (
	"context"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
)

// Validate refuses a message that breaks its protovalidate rules with
// INVALID_ARGUMENT, which lists every violation. Each message of a stream is
// looked at when it is received.
func Validate(v protovalidate.Validator) Interceptor {
	check := func(msg any) error {
		m, ok := msg.(proto.Message)
		if !ok {
			return nil
		}
		if err := v.Validate(m); err != nil {
			return apierr.From(err)
		}
		return nil
	}
	return Interceptor{
		Name: NameValidate,
		Enter: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo) (context.Context, error) {
			return ctx, check(req)
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, &validatingStream{ServerStream: ss, check: check})
		},
	}
}

type validatingStream struct {
	grpc.ServerStream
	check func(msg any) error
}

func (s *validatingStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.check(m)
}
