// Package inproc connects a client to a server in the same process, without a
// socket and without encoding: messages are copied, and calls pass the same
// chain of interceptors as on the network. It knows no service; start reading
// at New.
//
// Streams are handed to who takes their answers in two ways, of which neither can stand
// for the other: Taking is an option of a call that passes the client's interceptors and
// may leave the process, where its caller receives, while Push is for a caller and a
// server that know of each other, who see the header before the first answer, hold answers
// back that leave together, and pass on what is no message.
package inproc

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
)

// New returns a connection to what register registers, through chain. Deadlines,
// cancellation, metadata, headers and trailers pass as on the network; values of
// the caller's context do not. The chain should begin with grpcserver.Recover:
// a panic would end the process of the caller too. Message sizes are not
// limited here.
//
// A unary call runs on its caller's goroutine, so its server must heed its context.
// A stream must be read to its end or its context be cancelled, as on the
// network.
func New(chain grpcserver.Chain, register func(grpc.ServiceRegistrar), opts ...Option) grpc.ClientConnInterface {
	unary := chain.Unary()
	stream := chain.Stream()
	ch := new(inprocgrpc.Channel).
		WithServerUnaryInterceptor(unary).
		WithServerStreamInterceptor(toldWhy(stream))
	out := conn{
		ch: ch, unary: unary, chain: stream, methods: make(methods), streams: make(map[string]streaming), constant: newConstant(),
	}
	register(registrar{ch: ch, methods: out.methods, streams: out.streams})
	for _, opt := range opts {
		opt(&out)
	}
	ending := *out.constant
	ending.end = out.end
	out.ending = &ending
	return out
}

// Option changes what New makes.
type Option func(*conn)

// Sharing has the methods named give their messages on as they are, and not copies of
// them: the server and its caller each have a message of their own, whose inner messages,
// lists and bytes are the other's too. So neither may change what is inside of one that it
// was given or has given; the server may where the caller gives the request away, as it may
// anywhere set the message's own fields. Of a stream it is about the request, where the
// answers are taken (Taking).
func Sharing(names ...string) Option {
	return func(c *conn) {
		for _, name := range names {
			if m, ok := c.methods[name]; ok {
				m.pass = share
				c.methods[name] = m
			}
			if m, ok := c.streams[name]; ok {
				m.pass = share
				c.streams[name] = m
			}
		}
	}
}

// SameRequest has calls be part of their callers' requests, whose id, trace and baggage are
// theirs even if no metadata says so. Streams of requests need metadata all the same.
func SameRequest() Option {
	//nolint:contextcheck,nolintlint // it asks contexts of its own
	return func(c *conn) {
		trace.SpanFromContext(asked{context.Background(), &c.constant.span})
		baggage.FromContext(asked{context.Background(), &c.constant.baggage})
	}
}

// SameEnd has calls of the unary methods named, of all if none is, end with their callers'
// contexts, and for the same causes: a call without a deadline of its own has no other end.
// It is for servers that leave nothing behind that waits for the end of the call, or end it
// by themselves.
func SameEnd(names ...string) Option {
	//nolint:contextcheck,nolintlint // it asks a context of its own
	return func(c *conn) {
		ended, cancel := context.WithCancel(context.Background()) // others have no cause
		cancel()
		_ = context.Cause(asked{ended, &c.end})
		if len(names) == 0 {
			c.constant.end = c.end // what streams make of their contexts ends so as well
		}
		for name, m := range c.methods {
			if len(names) == 0 || slices.Contains(names, name) {
				m.sameEnd = true
				c.methods[name] = m
			}
		}
	}
}

// IsSameRequest reports whether what is handed to a connection (Hand, HandStream, Push) is
// part of its caller's request: no metadata need say so.
func IsSameRequest(to any) bool {
	c, ok := to.(conn)
	return ok && c.constant.span != nil
}

// toldWhy is outside of the chain.
func toldWhy(chain grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return chain(srv, serverStream{ss}, info, handler)
	}
}

// serverStream says why nothing can be sent any more: the channel says io.EOF to
// a server whose caller has left or whose time is over, which is nobody's fault
// and would be taken for the server's.
type serverStream struct{ grpc.ServerStream }

func (s serverStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if ctx := s.Context(); errors.Is(err, io.EOF) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// conn runs calls with one request itself, and has the channel run the others; it
// refuses what that would panic at.
type conn struct {
	ch       *inprocgrpc.Channel
	unary    grpc.UnaryServerInterceptor
	chain    grpc.StreamServerInterceptor
	methods  methods
	streams  map[string]streaming
	constant *constant
	ending   *constant // of calls that end with their callers
	end      any       // what package context asks one for to find what ends it
}

func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if m, ok := c.methods[method]; ok && plain(opts) {
		return c.invoke(ctx, outgoing(ctx), time.Time{}, method, m, args, reply, opts)
	}
	if err := checkMethod(method); err != nil {
		return err
	}
	return c.ch.Invoke(ctx, method, args, reply, opts...)
}

// Hand is Invoke with md in place of the metadata that ctx has for the call, and with a
// deadline of the call's own unless that is zero. The server has md itself, which nobody
// may change from then on.
func (c conn) Hand(ctx context.Context, md metadata.MD, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error {
	if m, ok := c.methods[method]; ok && plain(opts) {
		return c.invoke(ctx, md, deadline, method, m, args, reply, opts)
	}
	if !deadline.IsZero() {
		bounded, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		ctx = bounded
	}
	return c.Invoke(metadata.NewOutgoingContext(ctx, md), method, args, reply, opts...)
}

func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if m, ok := c.streams[method]; ok && !desc.ClientStreams && plain(opts) {
		if take := TakerOf(opts); take != nil {
			return Taken(ctx, func(req any) error {
				return c.HandStream(ctx, outgoing(ctx), time.Time{}, method, req, take, opts...)
			}), nil
		}
		return c.stream(ctx, method, m, opts), nil
	}
	if err := checkMethod(method); err != nil {
		return nil, err
	}
	s, err := c.ch.NewStream(ctx, desc, method, opts...)
	if err != nil || desc.ClientStreams {
		return s, err
	}
	return oneRequest{s}, nil
}

// oneRequest is a stream of answers to one request. A server that answers before
// it has read that makes sending it io.EOF, which generated code takes for the
// answer; as on the network, what the server said comes with RecvMsg.
type oneRequest struct{ grpc.ClientStream }

func (s oneRequest) SendMsg(m any) error {
	if err := s.ClientStream.SendMsg(m); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func checkMethod(method string) error {
	if service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/"); !ok || service == "" || name == "" {
		return apierr.New(apierr.Unimplemented, "there is no method %q", method).GRPCStatus().Err()
	}
	return nil
}
