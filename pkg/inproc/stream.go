package inproc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
)

// window is how many messages of a server its client may be behind: what has been
// sent together is received without waking anybody in between.
const window = 16

// answers is a call with one request and a stream of answers: both ends of it. The
// client's goroutine calls the methods of client, the server's those of server.
type answers struct {
	transport

	ctx     context.Context //nolint:containedctx // the client's
	cancel  context.CancelFunc
	server  context.Context //nolint:containedctx // a stream is asked for its context
	request proto.Message
	opts    []grpc.CallOption

	// head is closed when the header is known, and over at the end.
	head, over chan struct{}
	headOnce   sync.Once

	queue struct {
		sync.Mutex
		waiting []proto.Message
		ended   bool
		err     error
	}
	more chan struct{} // something was put into the queue
	room chan struct{} // something was taken out of it
}

// stream opens a call of a method that answers one request with a stream. The server
// starts when the request was sent.
func (c conn) stream(ctx context.Context, name string, m streaming, opts []grpc.CallOption) grpc.ClientStream {
	ctx, cancel := context.WithCancel(ctx)
	a := &answers{
		transport: transport{method: name}, ctx: ctx, cancel: cancel, opts: opts,
		head: make(chan struct{}), over: make(chan struct{}), more: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	of := c.call(ctx, outgoing(ctx), &a.transport)
	server, stop := of.begin(time.Time{})
	a.server = server
	return &answersClient{answers: a, run: func() {
		defer stop()
		info := &grpc.StreamServerInfo{FullMethod: name, IsServerStream: true}
		a.end(c.chain(m.server, (*answersServer)(a), info, m.handler))
	}}
}

// streaming is a method that answers one request with a stream.
type streaming struct {
	server  any
	handler grpc.StreamHandler
	// pass makes the request of a call whose answers are taken the server's, which is empty.
	pass func(dst, src any) error
}

// end is the server's last word.
func (a *answers) end(err error) {
	if err != nil {
		if _, ok := status.FromError(err); !ok {
			err = apierr.From(err).GRPCStatus().Err()
		}
	}
	a.headOnce.Do(func() { close(a.head) })
	a.finish(a.opts)
	a.queue.Lock()
	a.queue.ended, a.queue.err = true, err
	a.queue.Unlock()
	close(a.over)
	signal(a.more)
	a.cancel()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// answersServer is the server's end.
type answersServer answers

func (s *answersServer) Context() context.Context { return s.server }

func (s *answersServer) SetHeader(md metadata.MD) error { return s.transport.SetHeader(md) }

func (s *answersServer) SendHeader(md metadata.MD) error {
	err := s.transport.SendHeader(md)
	s.headOnce.Do(func() { close(s.head) })
	return err
}

func (s *answersServer) SetTrailer(md metadata.MD) { _ = s.transport.SetTrailer(md) }

// RecvMsg gives the one request.
func (s *answersServer) RecvMsg(m any) error {
	if s.request == nil {
		return io.EOF
	}
	req := s.request
	s.request = nil
	return copyTo(m, req)
}

// SendMsg puts a copy of m into the queue, when there is room.
func (s *answersServer) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok || !msg.ProtoReflect().IsValid() {
		return status.Error(codes.Internal, "an answer within the process is no message")
	}
	msg = proto.Clone(msg)
	s.close()
	s.headOnce.Do(func() { close(s.head) })
	for {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		s.queue.Lock()
		if len(s.queue.waiting) < window {
			s.queue.waiting = append(s.queue.waiting, msg)
			s.queue.Unlock()
			signal(s.more)
			return nil
		}
		s.queue.Unlock()
		select {
		case <-s.room:
		case <-s.ctx.Done():
		}
	}
}

// answersClient is the client's end.
type answersClient struct {
	*answers

	run   func()
	begun bool
	taken []proto.Message // out of the queue, and not yet received
}

func (c *answersClient) Context() context.Context { return c.ctx }

// SendMsg keeps the request, and starts the server.
func (c *answersClient) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok || c.begun {
		return status.Error(codes.Internal, "the call has one request")
	}
	c.begun, c.request = true, proto.Clone(msg)
	go c.run()
	return nil
}

func (c *answersClient) CloseSend() error { return nil }

// Header waits for the header, or for the end of a call that has none.
func (c *answersClient) Header() (metadata.MD, error) {
	select {
	case <-c.head:
	case <-c.ctx.Done():
	}
	select {
	case <-c.head: // also of a call that has ended
		return c.heading(), nil
	default:
		return nil, status.FromContextError(c.ctx.Err()).Err()
	}
}

// Trailer is known after the last answer.
func (c *answersClient) Trailer() metadata.MD {
	select {
	case <-c.over:
		return c.trailing()
	default:
		return nil
	}
}

// RecvMsg receives the next answer, io.EOF after the last one. What the server has
// said by the time that the call is given up is received all the same.
func (c *answersClient) RecvMsg(m any) error {
	for len(c.taken) == 0 {
		c.queue.Lock()
		c.taken, c.queue.waiting = c.queue.waiting, c.taken[:0]
		ended, err := c.queue.ended, c.queue.err
		c.queue.Unlock()
		switch {
		case len(c.taken) > 0:
			signal(c.room)
		case ended && err != nil:
			return err
		case ended:
			return io.EOF
		case c.ctx.Err() != nil && c.running():
			return status.FromContextError(c.ctx.Err()).Err()
		default:
			select {
			case <-c.more:
			case <-c.ctx.Done():
			}
		}
	}
	msg := c.taken[0]
	c.taken[0] = nil
	c.taken = c.taken[1:]
	return moveTo(m, msg)
}

// running reports whether the server has not said its last word: that it has is the
// other reason for a context to be over.
func (c *answersClient) running() bool {
	select {
	case <-c.over:
		return false
	default:
		return true
	}
}

// moveTo makes dst, which is empty, have what is in src, which is used up.
func moveTo(dst any, src proto.Message) error {
	to, ok := dst.(proto.Message)
	if !ok || to.ProtoReflect().Descriptor() != src.ProtoReflect().Descriptor() {
		return errors.New("inproc: an answer of another kind is expected")
	}
	into, from := to.ProtoReflect(), src.ProtoReflect()
	proto.Reset(to)
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		into.Set(field, value)
		return true
	})
	into.SetUnknown(from.GetUnknown())
	return nil
}
