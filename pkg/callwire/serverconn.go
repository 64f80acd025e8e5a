package callwire

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/quietconn"
)

// serverConn is a connection with one call at a time. Its methods are for its own
// goroutine, but for drain.
type serverConn struct {
	server   *Server
	conn     net.Conn
	peer     *peer.Peer
	preface  string // the client's
	r        *quietconn.Reader
	since    time.Time
	proven   bool // a call went well
	draining atomic.Bool
}

func newServerConn(s *Server, conn net.Conn, auth credentials.AuthInfo, said string) *serverConn {
	return &serverConn{
		server: s, conn: conn, preface: said, r: quietconn.NewReader(conn, quietconn.RawOf(conn), s.ahead), since: now(),
		peer: &peer.Peer{Addr: conn.RemoteAddr(), LocalAddr: conn.LocalAddr(), AuthInfo: auth},
	}
}

// now is the machine's time, which deadlines of connections are on.
func now() time.Time { return time.Now() } //nolint:forbidigo // see above

// drain has the connection end when no call is in hand. It may be called from anywhere.
func (c *serverConn) drain() {
	c.draining.Store(true)
	_ = c.conn.SetReadDeadline(longAgo())
}

// run answers calls until either side ends the connection.
func (c *serverConn) run() {
	_ = c.conn.SetWriteDeadline(now().Add(c.server.opts.Send))
	if _, err := c.conn.Write([]byte(c.preface)); err != nil {
		return
	}
	pinged := false // since the last call
	for quiet := now(); ; {
		_ = c.conn.SetReadDeadline(quiet.Add(c.server.opts.Idle))
		// Who drains says so first and sets a deadline then; here it is the other way round.
		if c.draining.Load() {
			c.bye()
			return
		}
		if _, err := c.r.Peek(1); err != nil {
			c.bye() // to one that is quiet; others hear nothing
			return
		}
		if age := c.server.opts.Age; age > 0 && now().Sub(c.since) > age {
			c.bye()
			return
		}
		kind, head, message, err := c.read()
		if err != nil || kind == kindPing && pinged {
			c.bye()
			return
		}
		switch {
		case kind == kindPing: // a stream ended on the way of it
			pinged = true
			continue
		case kind == kindCall && !c.answer(head, message):
			return
		case kind == kindStream && !c.stream(head, message):
			return
		}
		quiet, pinged = now(), false
	}
}

// read reads a request, for which there is less time than for its beginning. The message
// is given back by who has decoded it.
func (c *serverConn) read() (kind byte, head callHead, message *buffers.Buffer, err error) {
	receive := c.server.opts.Receive
	if !c.proven {
		receive = min(receive, firstRequest)
	}
	_ = c.conn.SetReadDeadline(now().Add(receive))
	p, err := readPrefix(c.r, requests, c.server.opts.MaxRecvBytes)
	switch {
	case err == nil && p.kind == kindPing && p.head+p.message == 0:
		return kindPing, callHead{}, nil, nil
	case err == nil && (p.kind == kindPing || p.kind == kindBye || p.head > c.server.opts.MaxHeadBytes):
		err = errMalformed
	}
	if err != nil {
		return 0, callHead{}, nil, err
	}
	if err := take(c.r, p.head, func(b []byte) (err error) { head, err = parseCallHead(b); return err }); err != nil {
		return 0, callHead{}, nil, err
	}
	message = c.server.messages.Take()
	message.B, err = appendNext(message.B, c.r, p.message)
	return p.kind, head, message, err
}

// firstRequest is how long the first request of a connection may take to come: nobody has
// been asked yet who it is.
const firstRequest = 10 * time.Second

// requests are the frames that a server takes between two calls.
const requests = string(kindCall) + string(kindStream) + string(kindPing)

// lingering is how long a client has to hear that its call was not begun: a connection
// that is closed with unread bytes takes back what was said.
const lingering = 250 * time.Millisecond

// bye says that no call is taken any more.
func (c *serverConn) bye() {
	var b [prefixBytes]byte
	prefix{kind: kindBye}.put(b[:])
	_ = c.conn.SetReadDeadline(now().Add(lingering))
	_ = c.conn.SetWriteDeadline(now().Add(lingering))
	if _, err := c.conn.Write(b[:]); err != nil {
		return
	}
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	for {
		if _, err := c.r.Discard(readBuffer); err != nil {
			return
		}
	}
}

// answer runs one call and reports whether the connection can take another.
func (c *serverConn) answer(head callHead, message *buffers.Buffer) bool {
	ctx, cancel := context.WithCancelCause(c.server.base)
	defer cancel(nil)
	w := watch(c, cancel, nil)
	resp, t, err := c.unary(ctx, head, message.B)
	c.server.messages.Put(message)
	open := w.stop()
	c.proven = c.proven || err == nil
	out := answerHead{header: t.header, trailer: t.trailer}
	var body proto.Message
	if err == nil {
		var ok bool
		if body, ok = resp.(proto.Message); !ok {
			err = status.Error(codes.Internal, "the answer is no message")
		} else if size := proto.Size(body); size > c.server.opts.MaxSendBytes {
			err = status.Errorf(codes.ResourceExhausted, "the answer has %d bytes, more than %d", size, c.server.opts.MaxSendBytes)
		}
	}
	if err != nil {
		body = nil
		if out.status, err = proto.Marshal(statusOf(err).Proto()); err != nil {
			return false
		}
	}
	return c.write(out, body) && open
}

// statusOf is how gRPC's server tells an error.
func statusOf(err error) *status.Status {
	if s, ok := status.FromError(err); ok {
		return s
	}
	return status.FromContextError(err)
}

func (c *serverConn) unary(ctx context.Context, head callHead, message []byte) (any, *transport, error) {
	t := &transport{method: head.method}
	m, ok := c.server.methods[head.method]
	if !ok {
		return nil, t, errNoMethod()
	}
	ctx, cancel := c.incoming(ctx, head)
	defer cancel()
	resp, err := m.handler(m.server, grpc.NewContextWithServerTransportStream(ctx, t), func(in any) error {
		return decode(message, in)
	}, c.server.opts.Unary)
	t.close()
	return resp, t, err
}

func errNoMethod() error {
	return apierr.New(apierr.Unimplemented, "there is no such method here").GRPCStatus().Err()
}

// incoming is the context of a call, with what came with it.
func (c *serverConn) incoming(ctx context.Context, head callHead) (context.Context, context.CancelFunc) {
	cancel := func() {}
	if head.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, head.timeout)
	}
	md := head.metadata
	if md == nil {
		md = metadata.MD{}
	}
	return metadata.NewIncomingContext(peer.NewContext(ctx, c.peer), md), cancel
}

func decode(message []byte, in any) error {
	msg, ok := in.(proto.Message)
	if !ok {
		return status.Error(codes.Internal, "the request is no message")
	}
	if err := proto.Unmarshal(message, msg); err != nil {
		return status.Errorf(codes.Internal, "the request cannot be read: %v", err)
	}
	return nil
}

// write sends an answer, whole.
func (c *serverConn) write(head answerHead, body proto.Message) bool {
	out := c.server.messages.Take()
	defer c.server.messages.Put(out)
	var err error
	if out.B, err = appendFrame(out.B, kindAnswer, head.append, body); err != nil {
		return false
	}
	_ = c.conn.SetWriteDeadline(now().Add(c.server.opts.Send))
	_, err = c.conn.Write(out.B)
	return err == nil
}
