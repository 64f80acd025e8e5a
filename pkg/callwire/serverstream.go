package callwire

import (
	"context"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/buffers"
)

// serverStream is the server's end of a stream. Messages are written where they are sent,
// but in bursts; a client that does not take them holds the handler up, until the context ends.
type serverStream struct {
	transport

	conn    *serverConn
	ctx     context.Context         //nolint:containedctx // a stream is asked for its context
	cancel  context.CancelCauseFunc // of ctx
	request *buffers.Buffer         // nil: it was received
	pinged  time.Time

	mu     sync.Mutex      // of what is written
	out    *buffers.Buffer // what waits for the next message; nil: nothing
	more   bool            // another message follows at once
	begun  bool            // the header has left, or is about to
	broken bool            // a frame was cut off
	left   time.Time       // when something left last
	soon   bool            // a goroutine is on its way to write what waits
}

// burst is how soon after another a message follows that is not alone: it may wait until
// other goroutines that are ready have run, as in gRPC's own writer, so that several leave
// in one write while there is much to do.
const burst = 200 * time.Microsecond

// More says that another message of the stream that ctx is of, or its end, follows the
// next one at once, so that both leave together. It has no effect on other calls.
func More(ctx context.Context) {
	if t, ok := grpc.ServerTransportStreamFromContext(ctx).(streamTransport); ok {
		t.s.mu.Lock()
		t.s.more = true
		t.s.mu.Unlock()
	}
}

// stream runs one call and reports whether the connection can take another.
func (c *serverConn) stream(head callHead, message *buffers.Buffer) bool {
	ctx, cancel := context.WithCancelCause(c.server.base)
	defer cancel(nil)
	s := &serverStream{transport: transport{method: head.method}, conn: c, cancel: cancel, request: message}
	w := watch(c, cancel, s.pong)
	_ = c.conn.SetWriteDeadline(time.Time{}) // messages are under the context alone
	ctx, free := c.incoming(ctx, head)
	defer free()
	if c.server.opts.Guard != nil {
		ctx = c.server.opts.Guard(ctx)
	}
	s.ctx = grpc.NewContextWithServerTransportStream(ctx, streamTransport{s})
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.SetWriteDeadline(longAgo())
		close(cut)
	})
	err := s.run()
	open := w.stop()
	c.proven = c.proven || err == nil
	if !stop() {
		<-cut
	}
	return s.end(err) && open
}

func (s *serverStream) run() error {
	m, ok := s.conn.server.streams[s.method]
	if !ok {
		return errNoMethod()
	}
	info := &grpc.StreamServerInfo{FullMethod: s.method, IsServerStream: true}
	return s.conn.server.opts.Stream(m.server, s, info, m.handler)
}

// Context is the call's.
func (s *serverStream) Context() context.Context { return s.ctx }

// RecvMsg gives the one request.
func (s *serverStream) RecvMsg(m any) error {
	message := s.request
	if message == nil {
		return io.EOF
	}
	s.request = nil // the stream may last
	defer s.conn.server.messages.Put(message)
	return decode(message.B, m)
}

// SendMsg writes a message, with what waited for it.
func (s *serverStream) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Error(codes.Internal, "the answer is no message")
	}
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	if size, most := proto.Size(msg), s.conn.server.opts.MaxSendBytes; size > most {
		return status.Errorf(codes.ResourceExhausted, "the answer has %d bytes, more than %d", size, most)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	var err error
	if s.out.B, err = appendFrame(s.out.B, kindMessage, nil, msg); err != nil {
		return status.Errorf(codes.Internal, "the answer cannot be written: %v", err)
	}
	switch at := now(); {
	case s.broken || len(s.out.B) >= heldBytes:
	case s.more:
		s.more = false
		return nil
	case at.Sub(s.left) < burst:
		if !s.soon {
			s.soon = true
			go s.later()
		}
		return nil
	}
	return s.flush()
}

// later writes what waits, when others have run.
func (s *serverStream) later() {
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.soon = false
	_ = s.flush() // which ends the call when it fails
}

// begin has the header in front of what is written; s.mu is held.
func (s *serverStream) begin() error {
	if s.out == nil {
		s.out = s.conn.server.messages.Take()
	}
	if s.begun {
		return nil
	}
	header := s.transport.begin()
	if len(header) > 0 {
		var err error
		s.out.B, err = appendFrame(s.out.B, kindHeader, func(b []byte) []byte { return appendMetadata(b, header) }, nil)
		if err != nil {
			return status.Errorf(codes.Internal, "the header cannot be written: %v", err)
		}
	}
	s.begun = true
	return nil
}

// flush writes what waits; s.mu is held.
func (s *serverStream) flush() error {
	s.more = false
	out := s.out
	s.out = nil
	if s.broken {
		return status.FromContextError(context.Canceled).Err()
	}
	if out == nil {
		return nil
	}
	_, err := s.conn.conn.Write(out.B)
	s.conn.server.messages.Put(out)
	if err == nil {
		s.left = now()
		return nil
	}
	s.broken = true
	if s.ctx.Err() == nil { // the client is gone
		s.cancel(errGone)
	}
	return status.FromContextError(context.Canceled).Err()
}

// SendHeader adds to the header and writes it.
func (s *serverStream) SendHeader(md metadata.MD) error {
	if err := s.transport.SendHeader(md); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		return err
	}
	return s.flush()
}

// SetTrailer adds to the trailer.
func (s *serverStream) SetTrailer(md metadata.MD) { _ = s.transport.SetTrailer(md) }

// pong answers a client that asks whether the server is there, unless what is being
// written says so. It reports whether the client may ask.
func (s *serverStream) pong() bool {
	if at := now(); at.Sub(s.pinged) < s.conn.server.opts.MinPing/2 { // the line may shift them
		return false
	} else {
		s.pinged = at
	}
	if !s.mu.TryLock() {
		return true
	}
	defer s.mu.Unlock()
	if s.broken {
		return false
	}
	untaken := time.AfterFunc(s.conn.server.opts.Send, func() { s.cancel(errGone) }) //nolint:forbidigo // as the deadlines of connections
	_, err := s.conn.conn.Write([]byte(ping))
	untaken.Stop()
	s.broken = err != nil
	return err == nil
}

// end writes the status, with what waits, and reports whether it left.
func (s *serverStream) end(err error) bool {
	_ = s.conn.conn.SetWriteDeadline(now().Add(s.conn.server.opts.Send)) // of what is being written as well
	s.mu.Lock()
	defer s.mu.Unlock()
	head := answerHead{}
	head.header, head.trailer = s.transport.end()
	if err != nil {
		if head.status, err = proto.Marshal(statusOf(err).Proto()); err != nil {
			return false
		}
	}
	if s.begun {
		head.header = nil
	}
	if s.out == nil {
		s.out = s.conn.server.messages.Take()
	}
	if s.out.B, err = appendFrame(s.out.B, kindAnswer, head.append, nil); err != nil {
		return false
	}
	return s.flush() == nil
}

// streamTransport is a stream as functions of gRPC that know its context alone have it.
type streamTransport struct{ s *serverStream }

func (t streamTransport) Method() string                  { return t.s.method }
func (t streamTransport) SetHeader(md metadata.MD) error  { return t.s.SetHeader(md) }
func (t streamTransport) SendHeader(md metadata.MD) error { return t.s.SendHeader(md) }
func (t streamTransport) SetTrailer(md metadata.MD) error { return t.s.transport.SetTrailer(md) }
