package inproc

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
)

// Taker takes the answers of a call of Push, on the goroutine of the call. An error
// ends the call.
type Taker interface {
	// Take is given an answer, which it must not keep, before the server's Send
	// returns. While the call is held it may wait for Flush with what it does with it.
	Take(call *Direct, answer any) error
	// Flush ends that waiting.
	Flush() error
}

// Direct is a call of Push, as its server and its Taker see it. A nil Direct is a call
// of another kind. It is for the goroutine that the call runs on.
type Direct struct {
	transport

	cancel context.CancelFunc
	to     Taker
	held   bool
}

type directKey struct{}

// DirectFrom returns the call that a server's context is of, nil when its answers are
// not taken where they are sent.
func DirectFrom(ctx context.Context) *Direct {
	d, _ := ctx.Value(directKey{}).(*Direct)
	return d
}

// Hold says that several answers follow at once, up to Release: they may be passed on
// together.
func (d *Direct) Hold() {
	if d != nil {
		d.held = true
	}
}

// Release ends what Hold began.
func (d *Direct) Release() error {
	if d == nil || !d.held {
		return nil
	}
	d.held = false
	return d.left(d.to.Flush())
}

// Held reports whether further answers follow at once.
func (d *Direct) Held() bool { return d != nil && d.held }

// TakeHeader is the call's header, which is final with the first answer. The call keeps
// nothing of it from then on: a stream may be open long.
func (d *Direct) TakeHeader() metadata.MD {
	d.mu.Lock()
	defer d.mu.Unlock()
	md := d.header.joined()
	d.header, d.room = nil, [len(d.room)]part{}
	return md
}

// Cancel ends the call. Any goroutine may call it.
func (d *Direct) Cancel() { d.cancel() }

// left ends the call of a caller who is gone.
func (d *Direct) left(err error) error {
	if err == nil {
		return nil
	}
	d.cancel()
	return context.Canceled
}

// Push runs a call with one request and a stream of answers where its caller is: each
// answer is taken before the server's Send returns. So nothing is copied, and nobody is
// woken; a server that does not heed its context holds its caller. An answer may be more
// than its message, where server and taker know of each other (DirectFrom). The request
// is used up. The call's metadata is md, which the server has itself from then on, and not
// what ctx has. Push returns the header, unless it was taken, and the server's last word.
func Push(ctx context.Context, conn grpc.ClientConnInterface, method string, md metadata.MD, req proto.Message, to Taker) (metadata.MD, error) {
	c, ok := conn.(pusher)
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "%s: answers cannot be taken on this connection", method)
	}
	return c.push(ctx, method, md, req, to)
}

type pusher interface {
	push(ctx context.Context, method string, md metadata.MD, req proto.Message, to Taker) (metadata.MD, error)
}

func (c conn) push(ctx context.Context, method string, md metadata.MD, req proto.Message, to Taker) (metadata.MD, error) {
	m, ok := c.streams[method]
	if !ok {
		return nil, apierr.New(apierr.Unimplemented, "there is no method %q that answers with a stream", method).GRPCStatus().Err()
	}
	d := &Direct{transport: transport{method: method}, to: to}
	of := c.call(ctx, md, &d.transport)
	server, cancel := of.begin(time.Time{})
	defer cancel()
	d.cancel = cancel
	s := &directStream{Direct: d, request: req, ctx: context.WithValue(server, directKey{}, d)}
	err := c.chain(m.server, s, &grpc.StreamServerInfo{FullMethod: method, IsServerStream: true}, m.handler)
	d.finish(nil)
	switch {
	case ctx.Err() != nil:
		err = status.FromContextError(ctx.Err()).Err()
	case err != nil:
		if _, ok := status.FromError(err); !ok {
			err = apierr.From(err).GRPCStatus().Err()
		}
	}
	return d.heading(), err
}

// directStream is the server's end of a call of Push.
type directStream struct {
	*Direct
	ctx     context.Context //nolint:containedctx // a stream is asked for its context
	request proto.Message
}

func (s *directStream) Context() context.Context { return s.ctx }

func (s *directStream) SetTrailer(md metadata.MD) { _ = s.transport.SetTrailer(md) }

// RecvMsg gives the one request.
func (s *directStream) RecvMsg(m any) error {
	if s.request == nil {
		return io.EOF
	}
	req := s.request
	s.request = nil
	return moveTo(m, req)
}

// SendMsg has the answer taken.
func (s *directStream) SendMsg(m any) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	s.close()
	return s.left(s.to.Take(s.Direct, m))
}
