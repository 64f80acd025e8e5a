package grpcserver

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// RequestID puts the caller's request id, or a new one when the caller gave
// none that is valid, in the context and in the response header. A call that
// fails before it answers anything carries the id in the trailer instead: a
// header would tell gRPC that the call may not be tried again.
func RequestID(source ids.Source) Interceptor {
	begin := func(ctx context.Context) (context.Context, string) {
		id := ""
		if v := telemetry.FromIncoming(ctx, requestid.MetadataKey); len(v) == 1 && requestid.Valid(v[0]) {
			id = v[0]
		}
		if id == "" {
			id = requestid.Proposed(ctx)
		}
		if id == "" {
			id = source.New()
		}
		return requestid.Fill(ctx, id), id
	}
	return Interceptor{
		Name: NameRequestID,
		Enter: func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo) (context.Context, error) {
			ctx, _ = begin(ctx)
			return ctx, nil
		},
		Leave: func(ctx context.Context, _, resp any, err error) (any, error) {
			if setErr := tell(ctx, requestid.MetadataKey, requestid.FromContext(ctx), err != nil); setErr != nil && err == nil {
				return nil, apierr.Wrap(apierr.Internal, setErr, "the response header cannot be set")
			}
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, id := begin(ss.Context())
			s := &requestIDStream{ServerStream: ss, ctx: ctx, id: id}
			err := handler(srv, s)
			if err == nil {
				return s.header()
			}
			ss.SetTrailer(s.pair())
			return err
		},
	}
}

// Teller is a transport stream that takes one pair of its header, or of its trailer, by
// itself: one that is not put on a wire needs no map for it. Keys are in lower case.
type Teller interface {
	Tell(key, value string, trailer bool) error
}

// tell adds a pair to what a unary call answers beside its message.
func tell(ctx context.Context, key, value string, trailer bool) error {
	if t, ok := grpc.ServerTransportStreamFromContext(ctx).(Teller); ok {
		return t.Tell(key, value, trailer)
	}
	md := metadata.MD{key: []string{value}}
	if trailer {
		return grpc.SetTrailer(ctx, md)
	}
	return grpc.SetHeader(ctx, md)
}

// requestIDStream adds the id to the header when the header is sent.
type requestIDStream struct {
	grpc.ServerStream
	ctx  context.Context //nolint:containedctx // a ServerStream is asked for its context
	id   string
	once sync.Once
}

// pair is made when it leaves: a stream may wait for long.
func (s *requestIDStream) pair() metadata.MD {
	return metadata.MD{requestid.MetadataKey: []string{s.id}}
}

func (s *requestIDStream) Context() context.Context { return s.ctx }

func (s *requestIDStream) header() error {
	var err error
	s.once.Do(func() { err = s.SetHeader(s.pair()) })
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
		Leave: func(ctx context.Context, _, resp any, err error) (any, error) {
			if err != nil {
				err = toStatus(err, requestid.FromContext(ctx))
			}
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return toStatus(handler(srv, ss), requestid.FromContext(ss.Context()))
		},
	}
}
