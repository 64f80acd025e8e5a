package callwire

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Stream is a call with one request and a stream of answers.
type Stream struct {
	Method string
	Opts   []grpc.CallOption
	// Ordinary opens the call in the ordinary way, when it turns out that it did not begin
	// on a connection of its own.
	Ordinary func() (grpc.ClientStream, error)
	// Done, which may be nil, is told once how a call ended that did begin.
	Done func(error)
}

// clientStream is the client's end of one. Its methods are for one goroutine at a time,
// but for those that gRPC lets be called beside each other, which lock mu.
type clientStream struct {
	Stream
	pool   *Pool
	ctx    context.Context //nolint:containedctx // a stream is asked for its context
	wishes wishes
	unhook func() bool
	last   sync.Once // the connection is given back
	told   sync.Once // Done is

	mu              sync.Mutex
	conn            *clientConn
	cut             bool              // the request did not leave whole
	request         proto.Message     // while it may have to be sent in the ordinary way
	ordinary        grpc.ClientStream // not nil: the call went there
	header, trailer metadata.MD
	ended           bool
	err             error // the end, io.EOF when it went well
}

// Open begins a stream at an address on a connection of the pool, which must be one of
// streams, or returns nil when the call has to be made in the ordinary way: there is no
// connection yet, or it asks for what does not go this way. Errors are statuses, as of
// gRPC's own calls. What leaves a stream before its end must end ctx.
func (p *Pool) Open(ctx context.Context, addr string, s Stream) grpc.ClientStream {
	w, ok := wishesOf(s.Opts, p.opts.MaxRecvBytes)
	if !ok || ctx.Err() != nil {
		return nil
	}
	c := p.take(addr) //nolint:contextcheck // a connection that is opened is for later calls
	if c == nil {
		return nil
	}
	cs := &clientStream{Stream: s, pool: p, ctx: ctx, wishes: w, conn: c}
	if a, ok := ctx.Value(arrivalsKey{}).(*Arrivals); ok {
		a.of = cs
	}
	cs.unhook = context.AfterFunc(ctx, cs.given)
	return cs
}

// given ends a stream with its context, also one that nobody receives of any more.
func (s *clientStream) given() {
	s.release(false)
	s.tell(status.FromContextError(s.ctx.Err()).Err())
}

func (s *clientStream) tell(err error) {
	s.told.Do(func() {
		if s.Done != nil {
			s.Done(err)
		}
	})
}

// release gives the connection back, once; usable says whether it can take another call.
func (s *clientStream) release(usable bool) {
	s.last.Do(func() { s.pool.put(s.conn, usable) })
}

// leave ends the use of the connection.
func (s *clientStream) leave(usable bool) {
	if s.unhook() { // else it is being closed
		s.release(usable)
	}
}

// Context is the call's.
func (s *clientStream) Context() context.Context { return s.ctx }

// CloseSend has nothing to say: there is one request.
func (s *clientStream) CloseSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordinary != nil {
		return s.ordinary.CloseSend()
	}
	return nil
}

// SendMsg sends the one request. A connection that does not take it is found out by
// whoever receives.
func (s *clientStream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg, ok := m.(proto.Message)
	if !ok || s.request != nil || s.ordinary != nil || s.ended {
		return status.Error(codes.Internal, "the call has one request")
	}
	s.request = msg
	head, ok := s.heading(msg)
	if !ok {
		s.leave(true)
		s.elsewhere()
		return nil
	}
	out := s.pool.messages.Take()
	defer s.pool.messages.Put(out)
	var err error
	if out.B, err = appendFrame(out.B, kindStream, head.append, msg); err != nil {
		s.leave(true)
		s.ended, s.err = true, status.Errorf(codes.Internal, "callwire: the request cannot be written: %v", err)
		return s.err
	}
	_ = s.conn.conn.SetWriteDeadline(now().Add(s.conn.ask + s.conn.patience))
	if _, err := s.conn.conn.Write(out.B); err != nil {
		// A server that takes no more may have said so before; nothing is asked behind half
		// a frame.
		s.cut, s.conn.ask = true, 0
		_ = s.conn.conn.SetReadDeadline(now().Add(s.conn.patience))
	}
	return nil
}

// heading is what goes with the request; ok is false when it does not go this way.
func (s *clientStream) heading(msg proto.Message) (head callHead, ok bool) {
	md, _ := metadata.FromOutgoingContext(s.ctx) // a copy
	head = callHead{method: s.Method, metadata: md}
	if end, ok := s.ctx.Deadline(); ok {
		if head.timeout = end.Sub(now()); head.timeout <= 0 {
			return head, false
		}
	}
	return head, proto.Size(msg) <= min(MaxMessage, s.wishes.maxSend) && head.fits()
}

// elsewhere makes the call in the ordinary way; an error is received.
func (s *clientStream) elsewhere() {
	req := s.request
	s.request = nil
	to, err := s.Ordinary()
	if err == nil {
		if err = to.SendMsg(req); err == nil {
			err = to.CloseSend()
		}
	}
	if s.ordinary = to; err != nil {
		s.ordinary, s.ended, s.err = nil, true, err
	}
}

// Header waits for the header, or for the end of a call that has none.
func (s *clientStream) Header() (metadata.MD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordinary == nil && !s.ended && s.header == nil {
		switch kind, err := s.peek(); {
		case err != nil:
			_ = s.fail(err)
		case kind == kindMessage: // it is empty
			s.header = metadata.MD{}
		default:
			_, _ = s.next(nil) // what it says is known of the stream then
		}
	}
	if s.ordinary != nil {
		return s.ordinary.Header()
	}
	return s.header, nil // how the call ended is received
}

// Trailer is known after the last answer.
func (s *clientStream) Trailer() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ordinary != nil {
		return s.ordinary.Trailer()
	}
	return s.trailer
}

// RecvMsg receives the next answer, io.EOF after the last one.
func (s *clientStream) RecvMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ordinary == nil {
		if s.ended {
			return s.err
		}
		if got, err := s.next(m); got || err != nil {
			return err
		}
	}
	return s.ordinary.RecvMsg(m)
}
