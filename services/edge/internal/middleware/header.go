package middleware

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// headerSetter adds to the header of the response.
type headerSetter func(md metadata.MD) error

func unaryHeader(ctx context.Context) headerSetter {
	return func(md metadata.MD) error { return grpc.SetHeader(ctx, md) }
}

// noHeader is for messages after the first of a stream.
func noHeader(metadata.MD) error { return nil }

// noLeave is for steps that have nothing to release.
func noLeave() {}
