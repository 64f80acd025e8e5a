package callwire

import (
	"bufio"
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
)

// serverConn is a connection with one call at a time. Its methods are for its own
// goroutine, but for drain.
type serverConn struct {
	server   *Server
	conn     net.Conn
	peer     *peer.Peer
	r        *bufio.Reader
	in, out  []byte
	since    time.Time
	draining atomic.Bool
}

func newServerConn(s *Server, conn net.Conn, auth credentials.AuthInfo) *serverConn {
	return &serverConn{
		server: s, conn: conn, r: bufio.NewReaderSize(conn, readBuffer), since: now(),
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
	if _, err := c.conn.Write([]byte(preface)); err != nil {
		return
	}
	for {
		_ = c.conn.SetReadDeadline(now().Add(c.server.opts.Idle))
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
		head, message, err := c.read()
		if err != nil {
			c.bye()
			return
		}
		if !c.answer(head, message) {
			return
		}
	}
}

// read reads a request, for which there is less time than for its beginning. The message
// lasts until the next.
func (c *serverConn) read() (head callHead, message []byte, err error) {
	_ = c.conn.SetReadDeadline(now().Add(c.server.opts.Receive))
	p, err := readPrefix(c.r, kindCall, c.server.opts.MaxRecvBytes)
	if err == nil && (p.kind != kindCall || p.head > c.server.opts.MaxHeadBytes) {
		err = errMalformed
	}
	if err != nil {
		return callHead{}, nil, err
	}
	if err := take(c.r, p.head, func(b []byte) (err error) { head, err = parseCallHead(b); return err }); err != nil {
		return callHead{}, nil, err
	}
	c.in = c.in[:0]
	err = take(c.r, p.message, func(b []byte) error { c.in = append(c.in, b...); return nil })
	if message = c.in; cap(c.in) > keptBuffer {
		c.in = nil
	}
	return head, message, err
}

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
func (c *serverConn) answer(head callHead, message []byte) bool {
	ctx, cancel := context.WithCancelCause(c.server.base)
	defer cancel(nil)
	w := watch(c, cancel)
	resp, t, err := c.handle(ctx, head, message)
	open := w.stop()
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

func (c *serverConn) handle(ctx context.Context, head callHead, message []byte) (any, *transport, error) {
	t := &transport{method: head.method}
	m, ok := c.server.methods[head.method]
	if !ok {
		return nil, t, apierr.New(apierr.Unimplemented, "there is no such method here").GRPCStatus().Err()
	}
	if head.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, head.timeout)
		defer cancel()
	}
	md := head.metadata
	if md == nil {
		md = metadata.MD{}
	}
	ctx = metadata.NewIncomingContext(peer.NewContext(ctx, c.peer), md)
	resp, err := m.handler(m.server, grpc.NewContextWithServerTransportStream(ctx, t), func(in any) error {
		msg, ok := in.(proto.Message)
		if !ok {
			return status.Error(codes.Internal, "the request is no message")
		}
		if err := proto.Unmarshal(message, msg); err != nil {
			return status.Errorf(codes.Internal, "the request cannot be read: %v", err)
		}
		return nil
	}, c.server.opts.Unary)
	t.close()
	return resp, t, err
}

// write sends an answer, whole.
func (c *serverConn) write(head answerHead, body proto.Message) bool {
	b := head.append(append(c.out[:0], make([]byte, prefixBytes)...))
	heading := len(b) - prefixBytes
	if heading > maxHead {
		return false
	}
	if body != nil {
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, body); err != nil {
			return false
		}
	}
	prefix{kindAnswer, heading, len(b) - prefixBytes - heading}.put(b)
	_ = c.conn.SetWriteDeadline(now().Add(c.server.opts.Send))
	_, err := c.conn.Write(b)
	if c.out = b; cap(b) > keptBuffer {
		c.out = nil
	}
	return err == nil
}
