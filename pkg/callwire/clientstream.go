package callwire

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	out := s.pool.buffers.take()
	defer s.pool.buffers.put(out)
	var err error
	if out.b, err = appendFrame(out.b, kindStream, head.append, msg); err != nil {
		s.leave(true)
		s.ended, s.err = true, status.Errorf(codes.Internal, "callwire: the request cannot be written: %v", err)
		return s.err
	}
	_ = s.conn.conn.SetWriteDeadline(now().Add(s.conn.ask + s.conn.patience))
	_, _ = s.conn.conn.Write(out.b)
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

// answers are the frames of a stream.
const answers = string(kindMessage) + string(kindAnswer) + string(kindHeader) + string(kindPing)

// next reads a frame; got is true when it was a message, which m has then. Frames change
// what is known of the stream. An error is its end.
func (s *clientStream) next(m any) (got bool, err error) {
	p, err := readPrefix(s.conn.r, answers, s.wishes.maxRecv)
	switch {
	case err == errTooLarge && p.message > s.wishes.maxRecv: //nolint:errorlint // it is never wrapped
		return false, s.end(false, status.Errorf(codes.ResourceExhausted, "callwire: the answer has %d bytes, more than %d", p.message, s.wishes.maxRecv))
	case err != nil:
		return false, s.fail(err)
	case p.kind == kindBye && s.request != nil: // nothing has begun
		s.leave(false)
		s.elsewhere()
		return false, nil
	case p.kind == kindPing && p.head+p.message == 0:
		return false, nil
	case p.kind == kindBye || p.kind == kindPing:
		return false, s.fail(errMalformed)
	}
	s.request = nil
	switch p.kind {
	case kindMessage:
		return s.message(p, m)
	case kindHeader:
		err = s.take(p, func(b []byte) (err error) { s.header, err = parseHeaderHead(b); return err })
	default:
		return false, s.final(p)
	}
	if err != nil {
		return false, s.fail(err)
	}
	return false, nil
}

// take gives the head of a frame without a message to use.
func (s *clientStream) take(p prefix, use func([]byte) error) error {
	if p.message != 0 {
		return errMalformed
	}
	return take(s.conn.r, p.head, use)
}

func (s *clientStream) message(p prefix, m any) (bool, error) {
	out, ok := m.(proto.Message)
	if p.head != 0 || !ok {
		return false, s.fail(errMalformed)
	}
	if s.header == nil {
		s.header = metadata.MD{} // it was empty
	}
	unread := false
	err := s.conn.read(p.message, &s.pool.buffers, func(b []byte) error {
		err := proto.Unmarshal(b, out)
		unread = err != nil
		return err
	})
	switch {
	case unread:
		return false, s.end(false, status.Errorf(codes.Internal, "callwire: the answer cannot be read: %v", err))
	case err != nil:
		return false, s.fail(err)
	}
	// The end that has come already is taken now: who knows from the message that it is
	// the last one need not receive it for the connection to be used again.
	if n := s.conn.r.Buffered(); n >= prefixBytes {
		b, _ := s.conn.r.Peek(n)
		if p := prefixOf(b); p.kind == kindAnswer && p.head <= n-prefixBytes {
			_, _ = s.next(nil)
		}
	}
	return true, nil
}

// final reads the status.
func (s *clientStream) final(p prefix) error {
	var got answerHead
	if err := s.take(p, func(b []byte) (err error) { got, err = parseAnswerHead(b); return err }); err != nil {
		return s.fail(err)
	}
	if s.header == nil {
		s.header = got.header
	}
	s.trailer = got.trailer
	err := statusErr(got.status)
	if err == nil {
		err = io.EOF
	}
	return s.end(true, err)
}

// fail ends a stream whose connection said nothing good.
func (s *clientStream) fail(err error) error {
	if s.ctx.Err() != nil {
		err = status.FromContextError(s.ctx.Err()).Err()
	} else {
		err = status.Errorf(codes.Unavailable, "callwire: the connection ended before the stream: %v", err)
	}
	return s.end(false, err)
}

func (s *clientStream) end(usable bool, err error) error {
	if s.ended {
		return s.err
	}
	s.leave(usable)
	s.ended, s.err, s.request = true, err, nil
	s.wishes.fulfil(answerHead{header: s.header, trailer: s.trailer})
	if err == io.EOF { //nolint:errorlint // it is never wrapped
		err = nil
	}
	s.tell(err)
	return s.err
}

// peek waits for the kind of the next frame.
func (s *clientStream) peek() (byte, error) {
	for {
		b, err := s.conn.r.Peek(prefixBytes)
		if err != nil {
			return 0, err
		}
		if b[0] != kindPing {
			return b[0], nil
		}
		if _, err := s.next(nil); err != nil {
			return 0, err
		}
	}
}

var errSilent = errors.New("callwire: the server does not say whether it is there")

// Read reads from the connection. While a stream is silent it asks whether the server is
// there, so that one that is not is noticed as on gRPC's connections.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.ask == 0 {
		return c.conn.Read(p)
	}
	_ = c.conn.SetReadDeadline(now().Add(c.ask))
	n, err := c.conn.Read(p)
	if n > 0 || !timedOut(err) {
		return n, err
	}
	_ = c.conn.SetDeadline(now().Add(c.patience))
	if _, err := c.conn.Write([]byte(ping)); err != nil {
		return 0, fmt.Errorf("callwire: ask whether the server is there: %w", err)
	}
	if n, err = c.conn.Read(p); n == 0 && timedOut(err) {
		err = errSilent
	}
	return n, err
}
