package middleware

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// headers is where a step adds to the header of the response; the zero value is
// nowhere, for messages after the first of a stream, when it may have been sent.
type headers struct {
	call   context.Context //nolint:containedctx // a unary call's, which is how gRPC finds its header
	stream grpc.ServerStream
	visit  func(metadata.MD) // a visitor's at the door
}

func unaryHeader(ctx context.Context) headers { return headers{call: ctx} }

// set adds md to the header.
func (h headers) set(md metadata.MD) error {
	switch {
	case h.call != nil:
		return grpc.SetHeader(h.call, md)
	case h.stream != nil:
		return h.stream.SetHeader(md)
	case h.visit != nil:
		h.visit(md)
	}
	return nil
}
