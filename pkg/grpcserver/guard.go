package grpcserver

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"github.com/poterne/poterne/pkg/apierr"
)

// guard ends one call from outside of its handler: when its request does not
// come, or when its caller does not take what is sent. gRPC waits for both for
// as long as the call's context lives, which the steps of the chain cannot
// shorten: gRPC reads a unary request before they run, and sends under the
// context that it made itself. The tap alone can hand it another.
type guard struct {
	end     context.CancelCauseFunc
	timer   *time.Timer
	sending atomic.Bool
}

type guardKey struct{}

// What ends a call. Either way the caller is not there, as far as can be told.
var (
	errNoRequest = apierr.New(apierr.Cancelled, "the request did not come in time")
	errNotTaken  = apierr.New(apierr.Cancelled, "the caller did not take the answer in time")
)

// guarded gives every call its guard, which waits for the request.
func (c Config) guarded(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancelCause(ctx) // freed with gRPC's context, at the end of the call
	g := &guard{end: cancel}
	g.timer = time.AfterFunc(c.ReceiveTimeout, g.fire) //nolint:forbidigo // gRPC's deadlines are on the machine's clock
	return context.WithValue(ctx, guardKey{}, g), nil
}

func (g *guard) fire() {
	if g.sending.Load() {
		g.end(errNotTaken)
		return
	}
	g.end(errNoRequest)
}

// arrived notes that the call has come to its handler.
func (g *guard) arrived() {
	g.timer.Stop()
	g.sending.Store(true)
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

// guardStream is outside of the chain, and so next to gRPC's own stream.
func (c Config) guardStream(chain grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if g, ok := ss.Context().Value(guardKey{}).(*guard); ok {
			s := &guardedStream{ServerStream: ss, guard: g, timeout: c.SendTimeout}
			if info.IsClientStream {
				g.arrived() // it may send whenever it has something
			} else {
				s.awaiting = true
			}
			ss = s
		}
		return chain(srv, ss, info, handler)
	}
}

// guardedStream bounds the time of every send.
type guardedStream struct {
	grpc.ServerStream
	guard   *guard
	timeout time.Duration
	// awaiting says that the one request has not come yet; only the handler's
	// goroutine receives.
	awaiting bool
}

// RecvMsg takes the request, for which the caller has as long as for a unary
// call's.
func (s *guardedStream) RecvMsg(m any) error {
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

func (s *guardedStream) SendMsg(m any) error {
	s.guard.timer.Reset(s.timeout)
	err := s.ServerStream.SendMsg(m)
	s.guard.timer.Stop()
	if err != nil && errors.Is(context.Cause(s.Context()), errNotTaken) {
		return errNotTaken
	}
	return err
}
