package grpcserver

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/requestid"
)

// RequestID puts the caller's request id, or a new one when the caller gave
// none that is valid, in the context and in the response header. A call that
// fails before it answers anything carries the id in the trailer instead: a
// header would tell gRPC that the call may not be tried again.
func RequestID(source ids.Source) Interceptor {
	begin := func(ctx context.Context) (context.Context, metadata.MD) {
		id := ""
		if v := metadata.ValueFromIncomingContext(ctx, requestid.MetadataKey); len(v) == 1 && requestid.Valid(v[0]) {
			id = v[0]
		}
		if id == "" {
			id = source.New()
		}
		return requestid.Fill(ctx, id), metadata.MD{requestid.MetadataKey: []string{id}}
	}
	return Interceptor{
		Name: NameRequestID,
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			ctx, md := begin(ctx)
			resp, err := handler(ctx, req)
			set := grpc.SetHeader
			if err != nil {
				set = grpc.SetTrailer
			}
			if setErr := set(ctx, md); setErr != nil && err == nil {
				return nil, apierr.Wrap(apierr.Internal, setErr, "the response header cannot be set")
			}
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, md := begin(ss.Context())
			s := &requestIDStream{ServerStream: ss, ctx: ctx, md: md}
			err := handler(srv, s)
			if err == nil {
				return s.header()
			}
			ss.SetTrailer(md)
			return err
		},
	}
}

// requestIDStream adds the id to the header when the header is sent.
type requestIDStream struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // a ServerStream is asked for its context
	md   metadata.MD
	once sync.Once
}

func (s *requestIDStream) Context() context.Context { return s.ctx }

func (s *requestIDStream) header() error {
	var err error
	s.once.Do(func() { err = s.SetHeader(s.md) })
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

func (s *requestIDStream) SendHeader(md metadata.MD) error {
	if err := s.header(); err != nil {
		return err
	}
	return s.ServerStream.SendHeader(md)
}

func (s *requestIDStream) SendMsg(m any) error {
	if err := s.header(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// Errors turns any error from within into a status of the taxonomy that names
// the request, so that the steps around it see what the caller will see.
func Errors() Interceptor {
	return Interceptor{
		Name: NameErrors,
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			resp, err := handler(ctx, req)
			return resp, toStatus(err, requestid.FromContext(ctx))
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return toStatus(handler(srv, ss), requestid.FromContext(ss.Context()))
		},
	}
}
