package inproc

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
)

// Taking has the answers of a stream that answers one request given to take, each before
// the server's Send returns, if the call is one within the process: its first Recv runs the
// server where it is, and returns its last word. So nothing is copied, and nobody is woken;
// a server that does not heed its context holds its caller. Any other connection does not
// heed this, so that callers receive answers in a loop as ever, and give them to take.
//
// An answer's own fields and its lists must not be kept; what else is in it neither side
// may change, nor what is in the request. An error of take ends the call and is what Recv
// returns; the server is told that its caller has left.
func Taking(take func(answer any) error) grpc.CallOption { return taking{take: take} }

type taking struct {
	grpc.EmptyCallOption
	take func(answer any) error
}

// WithinProcess says that the option asks nothing of connections that leave the process
// (package callwire looks for it).
func (taking) WithinProcess() {}

// Watching returns opts for a call whose answers see is to see as well, before they are
// taken. Those that are received by a loop pass it by.
func Watching(opts []grpc.CallOption, see func(answer any)) []grpc.CallOption {
	take := TakerOf(opts)
	if take == nil {
		return opts
	}
	return append(slices.Clip(opts), Taking(func(answer any) error {
		see(answer)
		return take(answer)
	}))
}

// TakerOf returns what Taking had opts give answers to; nil: nothing.
func TakerOf(opts []grpc.CallOption) (take func(answer any) error) {
	for _, o := range opts {
		if t, ok := o.(taking); ok {
			take = t.take
		}
	}
	return take
}

// Taken is the client's end of a stream whose answers are taken: run, which its first
// RecvMsg calls with the request, makes the call.
func Taken(ctx context.Context, run func(request any) error) grpc.ClientStream {
	return &takenClient{ctx: ctx, run: run}
}

type takenClient struct {
	ctx     context.Context //nolint:containedctx // a stream is asked for its context
	run     func(request any) error
	request any
}

func (c *takenClient) Context() context.Context { return c.ctx }

// Header knows nothing: grpc.Header is told at the end of the call.
func (*takenClient) Header() (metadata.MD, error) { return nil, nil } //nolint:nilnil // there is none

// Trailer knows nothing: grpc.Trailer is told at the end of the call.
func (*takenClient) Trailer() metadata.MD { return nil }

// SendMsg keeps the request.
func (c *takenClient) SendMsg(m any) error {
	if c.run == nil || c.request != nil {
		return status.Error(codes.Internal, "the call has one request")
	}
	c.request = m
	return nil
}

func (*takenClient) CloseSend() error { return nil }

// RecvMsg runs the call, and returns the server's last word.
func (c *takenClient) RecvMsg(any) error {
	run := c.run
	if run == nil {
		return io.EOF
	}
	c.run = nil
	if err := run(c.request); err != nil {
		return err
	}
	return io.EOF
}

// HandStream runs a call whose answers are taken, as Hand runs a unary one.
func (c conn) HandStream(ctx context.Context, md metadata.MD, deadline time.Time, method string, request any, take func(answer any) error, opts ...grpc.CallOption) error {
	m, ok := c.streams[method]
	if !ok {
		return apierr.New(apierr.Unimplemented, "there is no method %q that answers with a stream", method).GRPCStatus().Err()
	}
	s := &takenServer{pass: m.pass, request: request, take: take}
	s.method = method
	s.call = c.call(ctx, md, &s.transport)
	s.ctx, s.cancel = s.begin(deadline)
	defer s.cancel()
	err := c.chain(m.server, s, &grpc.StreamServerInfo{FullMethod: method, IsServerStream: true}, m.handler)
	s.finish(opts)
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.failed != nil:
		return s.failed
	case err == nil:
		return nil
	}
	// As on the network: who has left, or whose time is over, hears nothing else.
	if over := ctx.Err(); over != nil {
		return status.FromContextError(over).Err()
	}
	if over := s.ctx.Err(); over != nil {
		return status.FromContextError(over).Err()
	}
	if _, ok := status.FromError(err); !ok {
		err = apierr.From(err).GRPCStatus().Err()
	}
	return err
}

// takenServer is the server's end.
type takenServer struct {
	call
	transport

	ctx     context.Context //nolint:containedctx // a stream is asked for its context
	cancel  context.CancelFunc
	pass    func(dst, src any) error
	request any

	take     func(answer any) error
	failed   error       // take's
	panicked *PanicError // take's
}

func (s *takenServer) Context() context.Context { return s.ctx }

func (s *takenServer) SetTrailer(md metadata.MD) { _ = s.transport.SetTrailer(md) }

// RecvMsg gives the one request.
func (s *takenServer) RecvMsg(m any) error {
	if s.request == nil {
		return io.EOF
	}
	req := s.request
	s.request = nil
	return s.pass(m, req)
}

// SendMsg has the answer taken.
func (s *takenServer) SendMsg(m any) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if msg, ok := m.(proto.Message); !ok || !msg.ProtoReflect().IsValid() {
		return status.Error(codes.Internal, "an answer within the process is no message")
	}
	s.close()
	if s.give(m); s.failed != nil || s.panicked != nil {
		s.cancel()
		return context.Canceled
	}
	return nil
}

// give keeps what take panics with for its own goroutine's steps: the server's are not to
// answer for it.
func (s *takenServer) give(m any) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	s.failed = s.take(m)
}

// PanicError is what a call panics with at its caller's when take has panicked.
type PanicError struct {
	Value any
	Stack []byte // where it was
}

// Error says what it was, and where.
func (p *PanicError) Error() string { return fmt.Sprintf("%v\n%s", p.Value, p.Stack) }

// Unwrap returns the value, if it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
