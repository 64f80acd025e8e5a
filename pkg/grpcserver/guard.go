package grpcserver

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/pace"
)

// guard ends one call from outside of its handler: when its request does not
// come, or when its caller does not take what is sent. gRPC waits for both for
// as long as the call's context lives, which the steps of the chain cannot
// shorten: gRPC reads a unary request before they run, and sends under the
// context that it made itself. The tap alone can hand it another.
type guard struct {
	end   context.CancelCauseFunc
	timer *time.Timer
	cause atomic.Pointer[apierr.Error] // of the end, when the timer fires
}

type guardKey struct{}

// What ends a call, as the steps and the records have it: the caller, of whom the
// first and the last cannot tell whether it is there, sees its stream reset.
var (
	errNoRequest = apierr.New(apierr.Cancelled, "the request did not come in time")
	errTooSlow   = apierr.New(apierr.RequestTimeout, "the requests come too slowly")
	errNotTaken  = apierr.New(apierr.Cancelled, "the caller did not take the answer in time")
)

// guarded gives every call its guard, which waits for the request.
func (c Config) guarded(ctx context.Context, _ *tap.Info) (context.Context, error) {
	return c.guard(ctx), nil
}

func (c Config) guard(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx) // freed with gRPC's context, at the end of the call
	g := &guard{end: cancel}
	g.cause.Store(errNoRequest)
	g.timer = time.AfterFunc(c.ReceiveTimeout, g.fire) //nolint:forbidigo // gRPC's deadlines are on the machine's clock
	return context.WithValue(ctx, guardKey{}, g)
}

func (g *guard) fire() { g.end(g.cause.Load()) }

// arrived notes that the call has come to its handler.
func (g *guard) arrived() {
	g.timer.Stop()
	g.cause.Store(errNotTaken)
}

// guardUnary is outside of the chain.
func guardUnary(chain grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if g, ok := ctx.Value(guardKey{}).(*guard); ok {
			g.arrived()
		}
		return chain(ctx, req, info, handler)
	}
}

// guardStream is outside of the chain, and so next to gRPC's own stream. slow, which
// may be nil, is told of callers that are too slow.
func (c Config) guardStream(chain grpc.StreamServerInterceptor, slow func(ctx context.Context, side string)) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if g, ok := ss.Context().Value(guardKey{}).(*guard); ok {
			s := &guardedStream{ServerStream: ss, guard: g, slow: slow, sends: pace.New(int64(c.MinSendRate), c.SendTimeout)}
			switch {
			case !info.IsClientStream:
				s.awaiting = true
			case info.IsServerStream:
				g.arrived() // it may send whenever it has something
			default:
				g.arrived()
				if c.MinReceiveRate > 0 {
					s.receives = pace.New(int64(c.MinReceiveRate), c.ReceiveTimeout)
				}
			}
			ss = s
		}
		return chain(srv, ss, info, handler)
	}
}

// guardedStream bounds the time of every send, and of every receive that an answer
// waits for.
type guardedStream struct {
	grpc.ServerStream
	guard *guard
	slow  func(ctx context.Context, side string)
	sends *pace.Pace
	// receives is nil but for a stream of requests with one answer.
	receives *pace.Pace
	// awaiting says that the one request has not come yet; only the handler's
	// goroutine receives.
	awaiting bool
}

// RecvMsg takes the request, for which the caller has as long as for a unary
// call's, or the next one of a stream.
func (s *guardedStream) RecvMsg(m any) error {
	if s.receives != nil {
		return s.receive(m)
	}
	err := s.ServerStream.RecvMsg(m)
	if s.awaiting {
		s.awaiting = false
		s.guard.arrived()
	}
	if err != nil && errors.Is(context.Cause(s.Context()), errNoRequest) {
		return errNoRequest
	}
	return err
}

func (s *guardedStream) receive(m any) error {
	s.guard.cause.Store(errTooSlow)
	began := time.Now() //nolint:forbidigo // as the timer
	s.guard.timer.Reset(s.receives.Left())
	err := s.ServerStream.RecvMsg(m)
	s.guard.arrived()
	s.receives.Moved(size(m), time.Since(began)) //nolint:forbidigo // as the timer
	if err != nil && errors.Is(context.Cause(s.Context()), errTooSlow) {
		s.tell(SlowRequest)
		return errTooSlow
	}
	return err
}

// blocked is how long a send takes that waits for nobody.
const blocked = time.Millisecond

// SendMsg sends m within the time that the caller has.
func (s *guardedStream) SendMsg(m any) error {
	began := time.Now() //nolint:forbidigo // as the timer
	s.guard.timer.Reset(s.sends.Left())
	err := s.ServerStream.SendMsg(m)
	s.guard.timer.Stop()
	if waited := time.Since(began); waited > blocked || s.sends.Behind() { //nolint:forbidigo // as the timer
		s.sends.Moved(size(m), waited)
	}
	if err != nil && errors.Is(context.Cause(s.Context()), errNotTaken) {
		s.tell(SlowAnswer)
		return errNotTaken
	}
	return err
}

func (s *guardedStream) tell(side string) {
	if s.slow != nil {
		s.slow(s.Context(), side)
	}
}

// size is how many bytes a message has.
func size(m any) int {
	if p, ok := m.(proto.Message); ok {
		return proto.Size(p)
	}
	return 0
}
