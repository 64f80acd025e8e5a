package inproc_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
)

// A call on a connection whose calls end with their callers is cut with them, and what is
// made of its context is; elsewhere a cause stays with the caller.
func TestCallsThatEndWithTheirCallers(t *testing.T) {
	errLeft := errors.New("left")
	for name, c := range map[string]struct {
		opts []inproc.Option
		want error
	}{
		"alone": {nil, context.Canceled},
		"same":  {[]inproc.Option{inproc.SameEnd()}, errLeft},
		"named": {[]inproc.Option{inproc.SameEnd(grpc_testing.TestService_UnaryCall_FullMethodName)}, errLeft},
		"other": {[]inproc.Option{inproc.SameEnd(grpc_testing.TestService_EmptyCall_FullMethodName)}, context.Canceled},
	} {
		ctx, leave := context.WithCancelCause(t.Context())
		var got error
		s := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			within, cancel := context.WithCancel(ctx)
			defer cancel()
			leave(errLeft)
			<-within.Done()
			got = context.Cause(within)
			return nil, within.Err()
		}}
		conn := inproc.New(grpcserver.Chain{}, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) }, c.opts...)
		_, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		if status.Code(err) != codes.Canceled || !errors.Is(got, c.want) {
			t.Errorf("%s: answered %v, and ended for %v", name, err, got)
		}
	}
}

func BenchmarkEndOfACall(b *testing.B) {
	s := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		_, cancel := context.WithCancel(ctx) // as a step that bounds the call does
		defer cancel()
		return &grpc_testing.SimpleResponse{}, nil
	}}
	for name, opts := range map[string][]inproc.Option{"alone": nil, "same": {inproc.SameEnd()}} {
		conn := inproc.New(grpcserver.Chain{}, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) }, opts...)
		client := grpc_testing.NewTestServiceClient(conn)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request, cancel := context.WithCancel(b.Context())
				if _, err := client.UnaryCall(request, &grpc_testing.SimpleRequest{}); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}
