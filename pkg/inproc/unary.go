package inproc

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
)

// methods are the unary methods that are registered, by their full names.
type methods map[string]method

type method struct {
	server  any
	handler grpc.MethodHandler
	// pass makes the message of one side that of the other, which is empty.
	pass func(dst, src any) error
	// sameEnd has a call end with its caller's context.
	sameEnd bool
}

// registrar notes methods with one request on their way to the channel, which has the
// others.
type registrar struct {
	ch      *inprocgrpc.Channel
	methods methods
	streams map[string]streaming
}

func (r registrar) RegisterService(desc *grpc.ServiceDesc, server any) {
	r.ch.RegisterService(desc, server)
	for _, m := range desc.Methods {
		r.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{server: server, handler: m.Handler, pass: copyTo}
	}
	for _, m := range desc.Streams {
		if m.ServerStreams && !m.ClientStreams {
			r.streams["/"+desc.ServiceName+"/"+m.StreamName] = streaming{server: server, handler: m.Handler, pass: copyTo}
		}
	}
}

// invoke runs a unary call on the caller's goroutine: its stack has grown already,
// and nobody has to be woken. So a server that does not heed its context holds its
// caller.
func (c conn) invoke(ctx context.Context, md metadata.MD, deadline time.Time, name string, m method, args, reply any, opts []grpc.CallOption) error {
	var u struct {
		call
		transport
	}
	u.method = name
	u.call = c.call(ctx, md, &u.transport)
	var server context.Context = &u.call
	if m.sameEnd && deadline.IsZero() {
		u.constant = c.ending
	} else {
		bounded, cancel := u.begin(deadline)
		defer cancel()
		server = bounded
	}
	//nolint:contextcheck // it is the client's with what came with the call
	resp, err := m.handler(m.server, server, func(in any) error { return m.pass(in, args) }, c.unary)
	u.finish(opts)
	// As on the network: who has left, or whose time is over, hears nothing else.
	over := ctx.Err()
	if over == nil {
		over = server.Err()
	}
	switch {
	case over != nil:
		return status.FromContextError(over).Err()
	case err != nil:
		return err
	default:
		return m.pass(reply, resp)
	}
}

// copyTo makes dst, which is empty, a copy of src.
func copyTo(dst, src any) error {
	to, ok := dst.(proto.Message)
	from, also := src.(proto.Message)
	if !ok || !also || to == nil || from == nil || !from.ProtoReflect().IsValid() {
		return apierr.New(apierr.Internal, "a call within the process has a message of another kind").GRPCStatus().Err()
	}
	if to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() {
		return status.Errorf(codes.Internal, "a %s is not a %s", from.ProtoReflect().Descriptor().FullName(), to.ProtoReflect().Descriptor().FullName())
	}
	proto.Reset(to)
	proto.Merge(to, from)
	return nil
}

// share makes dst another message of the same fields, of the same Go type, and a copy
// where the types are not the same.
func share(dst, src any) error {
	to, from := reflect.ValueOf(dst), reflect.ValueOf(src)
	if to.Kind() != reflect.Pointer || to.Type() != from.Type() || to.IsNil() || from.IsNil() {
		return copyTo(dst, src)
	}
	to.Elem().Set(from.Elem())
	return nil
}

// transport keeps what a server says beside its answer. Its methods may be called
// from several goroutines.
type transport struct {
	method string

	mu      sync.Mutex
	header  parts
	trailer parts
	room    [2]part // for most headers
	sent    bool    // the header
	ended   bool
}

func (t *transport) Method() string { return t.method }

func (t *transport) SetHeader(md metadata.MD) error { return t.add(part{md: md}, false) }

func (t *transport) SendHeader(md metadata.MD) error { return t.add(part{md: md}, true) }

func (t *transport) SetTrailer(md metadata.MD) error { return t.addTrailer(part{md: md}) }

// Tell adds one pair (grpcserver.Teller).
func (t *transport) Tell(key, value string, trailer bool) error {
	if trailer {
		return t.addTrailer(part{key: key, value: value})
	}
	return t.add(part{key: key, value: value}, false)
}

func (t *transport) add(p part, send bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent || t.ended {
		return status.Error(codes.Internal, "the header was sent already")
	}
	if t.header == nil {
		t.header = t.room[:0]
	}
	t.header, t.sent = append(t.header, p), send
	return nil
}

func (t *transport) addTrailer(p part) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return status.Error(codes.Internal, "the call has ended")
	}
	t.trailer = append(t.trailer, p)
	return nil
}

// close says that the header has left, with the first answer.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = true
}

func (t *transport) heading() metadata.MD {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.header.joined()
}

func (t *transport) trailing() metadata.MD {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trailer.joined()
}

// finish gives the caller what it asks for of the call.
func (t *transport) finish(opts []grpc.CallOption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = t.header.joined()
		case grpc.TrailerCallOption:
			*o.TrailerAddr = t.trailer.joined()
		case heading:
			t.header.each(o.see)
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{Addr: local{}, AuthInfo: local{}}
		}
	}
}

// plain reports whether a call needs nothing of the channel: credentials of its own
// do.
func plain(opts []grpc.CallOption) bool {
	for _, o := range opts {
		if _, ok := o.(grpc.PerRPCCredsCallOption); ok {
			return false
		}
	}
	return true
}
