package callwire

import (
	"context"
	"io"
	"net"
	"slices"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/quietconn"
)

// clientConn is a connection with one call at a time.
type clientConn struct {
	addr string
	conn net.Conn
	// probe looks at what conn is on.
	probe *quietconn.Probe
	// interrupt ends reads and writes.
	interrupt func()
	r         *quietconn.Reader
	used      time.Time
	// ask and patience are of a stream: after how long a silence the server is asked
	// whether it is there, and how long its answer may take. 0: it is not asked.
	ask, patience time.Duration
}

func newClientConn(addr string, conn, raw net.Conn, ahead *buffers.Pool) *clientConn {
	c := &clientConn{addr: addr, conn: conn, probe: quietconn.New(raw)}
	c.r = quietconn.NewReader(c, c.waiter(), ahead)
	c.interrupt = func() { _ = conn.SetDeadline(longAgo()) }
	return c
}

// Call calls a method at an address on a connection of the pool. carried is false when the
// call did not begin there, and has to be made in the ordinary way: there is no connection
// yet, it is too large, it asks for what does not go this way, or the server ends. Errors
// are statuses, as of gRPC's own calls.
func (p *Pool) Call(ctx context.Context, addr, method string, req, reply any, opts []grpc.CallOption) (carried bool, err error) {
	in, isMessage := req.(proto.Message)
	out, also := reply.(proto.Message)
	if !isMessage || !also {
		return false, nil
	}
	select {
	case <-ctx.Done():
		return false, nil // an ordinary call says why
	default:
	}
	w, ok := wishesOf(opts, p.opts.MaxRecvBytes)
	if size := proto.Size(in); !ok || size > min(MaxMessage, w.maxSend) {
		return false, nil
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	head := callHead{method: method, metadata: md}
	if end, ok := ctx.Deadline(); ok {
		if head.timeout = end.Sub(now()); head.timeout <= 0 { // gRPC says so
			return false, nil
		}
	}
	if !head.fits() {
		return false, nil
	}
	c := p.take(addr) //nolint:contextcheck // a connection that is opened is for later calls
	if c == nil {
		return false, nil
	}
	stop := context.AfterFunc(ctx, c.interrupt)
	got, usable, err := c.exchange(p.messages, head, in, out, w.maxRecv)
	// A context that has ended may set a deadline at any time.
	usable = stop() && usable
	p.put(c, usable)
	switch {
	case err == errBye: //nolint:errorlint // it is never wrapped
		return false, nil
	case err != nil && ctx.Err() != nil:
		return true, status.FromContextError(ctx.Err()).Err()
	case err != nil:
		return true, err
	}
	w.fulfil(got)
	return true, statusErr(got.status)
}

// wishes is what is asked for of a call.
type wishes struct {
	header, trailer  []*metadata.MD
	maxRecv, maxSend int
}

// wishesOf reads the options; ok is false when there is one that is not known here. Those
// that are WithinProcess (inproc.Taking) ask nothing of a connection.
func wishesOf(opts []grpc.CallOption, maxRecv int) (w wishes, ok bool) {
	w = wishes{maxRecv: maxRecv, maxSend: MaxMessage}
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			w.header = append(w.header, o.HeaderAddr)
		case grpc.TrailerCallOption:
			w.trailer = append(w.trailer, o.TrailerAddr)
		case grpc.MaxRecvMsgSizeCallOption:
			w.maxRecv = o.MaxRecvMsgSize
		case grpc.MaxSendMsgSizeCallOption:
			w.maxSend = o.MaxSendMsgSize
		case grpc.FailFastCallOption, grpc.StaticMethodCallOption, interface{ WithinProcess() }:
		default:
			return w, false
		}
	}
	return w, true
}

func (w wishes) fulfil(h answerHead) {
	for _, to := range w.header {
		*to = h.header
	}
	for _, to := range w.trailer {
		*to = h.trailer
	}
}

// read gives the next n bytes to use, which are not kept after it returns.
func (c *clientConn) read(n int, messages *buffers.Pool, use func([]byte) error) error {
	if n <= c.r.Size() || n > keptBuffer {
		return take(c.r, n, use)
	}
	buf := messages.Take()
	defer messages.Put(buf)
	buf.B = slices.Grow(buf.B, n)[:n]
	if _, err := io.ReadFull(c.r, buf.B); err != nil {
		return cut(err)
	}
	return use(buf.B)
}

func statusErr(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	var s spb.Status
	if err := proto.Unmarshal(raw, &s); err != nil || s.GetCode() == int32(codes.OK) {
		return status.Error(codes.Internal, errMalformed.Error())
	}
	return status.FromProto(&s).Err()
}

// errBye is that the server did not begin the call.
var errBye = status.Error(codes.Unavailable, "callwire: the server takes no call here any more")

// exchange makes one call; usable says whether the connection can take another.
func (c *clientConn) exchange(messages *buffers.Pool, head callHead, in, out proto.Message, maxRecv int) (got answerHead, usable bool, err error) {
	request := messages.Take()
	if request.B, err = appendFrame(request.B, kindCall, head.append, in); err != nil {
		return got, true, status.Errorf(codes.Internal, "callwire: the request cannot be written: %v", err)
	}
	_, failed := c.conn.Write(request.B)
	messages.Put(request)
	// A server that takes no more may have said so before it closed.
	p, err := readPrefix(c.r, string(kindAnswer), maxRecv)
	switch {
	case err == errTooLarge: //nolint:errorlint // it is never wrapped
		return got, false, status.Errorf(codes.ResourceExhausted, "callwire: the answer has %d bytes, more than %d", p.message, maxRecv)
	case err != nil:
		if failed != nil {
			err = failed
		}
		return got, false, status.Errorf(codes.Unavailable, "callwire: the connection ended before the answer: %v", err)
	case p.kind == kindBye:
		return got, false, errBye
	}
	if err = take(c.r, p.head, func(b []byte) (err error) { got, err = parseAnswerHead(b); return err }); err == nil {
		err = take(c.r, p.message, func(b []byte) error {
			if len(got.status) > 0 {
				return nil
			}
			if err := proto.Unmarshal(b, out); err != nil {
				return status.Errorf(codes.Internal, "callwire: the answer cannot be read: %v", err)
			}
			return nil
		})
	}
	if status.Code(err) == codes.Internal {
		return got, false, err
	}
	if err != nil {
		return got, false, status.Errorf(codes.Unavailable, "callwire: the connection ended within the answer: %v", err)
	}
	return got, failed == nil, nil
}
