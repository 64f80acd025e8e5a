package identity

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
)

// MetadataKey is the metadata entry that carries the caller, as bytes.
const MetadataKey = "poterne-caller-bin"

// Name is the name of the server's interceptor.
const Name = "identity"

// UnaryClient writes the context's caller, if there is one, in the metadata.
// It replaces what a handler may have copied there from its own caller.
func UnaryClient(codec Codec) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, err := outgoing(ctx, codec)
		if err != nil {
			return err
		}
		return invoker(ctx, method, req, reply, cc, opts...)
	}
}

// StreamClient is UnaryClient for streams.
func StreamClient(codec Codec) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		ctx, err := outgoing(ctx, codec)
		if err != nil {
			return nil, err
		}
		return streamer(ctx, desc, cc, method, opts...)
	}
}

func outgoing(ctx context.Context, codec Codec) (context.Context, error) {
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	md.Delete(MetadataKey)
	if c, ok := FromContext(ctx); ok {
		data, err := codec.Encode(c)
		if err != nil {
			return nil, apierr.Wrap(apierr.Internal, err, "the caller cannot be passed on")
		}
		md.Set(MetadataKey, string(data))
	}
	return metadata.NewOutgoingContext(ctx, md), nil
}

// Server reads the caller into the context. A call without one is refused with
// UNAUTHENTICATED when required says so of its method (/package.Service/Method);
// a nil required asks it of every method. One that cannot be read is refused in
// any case.
func Server(codec Codec, required func(fullMethod string) bool) grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: Name,
		Enter: func(ctx context.Context, _ any, info *grpc.UnaryServerInfo) (context.Context, error) {
			return incoming(ctx, codec, required, info.FullMethod)
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, err := incoming(ss.Context(), codec, required, info.FullMethod)
			if err != nil {
				return err
			}
			return handler(srv, grpcserver.WithContext(ss, ctx))
		},
	}
}

func incoming(ctx context.Context, codec Codec, required func(string) bool, method string) (context.Context, error) {
	var values []string
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		values = md.Get(MetadataKey)
	}
	switch len(values) {
	case 0:
		if required == nil || required(method) {
			return nil, apierr.New(apierr.Unauthenticated, "the call does not say on whose behalf it is made")
		}
		return ctx, nil
	case 1:
		c, err := codec.Decode([]byte(values[0]))
		if err != nil {
			return nil, apierr.Wrap(apierr.Unauthenticated, err, "the caller cannot be read")
		}
		return NewContext(ctx, c), nil
	default:
		return nil, apierr.New(apierr.Unauthenticated, "the call names more than one caller")
	}
}
