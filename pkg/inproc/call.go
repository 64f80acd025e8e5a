package inproc

import (
	"context"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// constant is what all calls on a connection have in common.
type constant struct {
	context.Context //nolint:containedctx // it has who calls

	// What gRPC asks a context for to find a call's metadata and its stream.
	metadata, stream any
	// What OpenTelemetry asks one for to find the span and the baggage, of a connection
	// whose calls are of their callers' requests; nil of others.
	span, baggage any
	// What package context asks one for to find what ends it, of calls that end with their
	// callers (SameEnd); nil of others.
	end any
}

// newConstant asks contexts of its own, which no call is made with.
//
//nolint:contextcheck,nolintlint // it is the callers in other modules that are told of
func newConstant() *constant {
	c := &constant{Context: peer.NewContext(context.Background(), &peer.Peer{Addr: local{}, AuthInfo: local{}})}
	metadata.FromIncomingContext(asked{context.Background(), &c.metadata})
	grpc.ServerTransportStreamFromContext(asked{context.Background(), &c.stream})
	return c
}

// call is the context of a call with what came with it.
func (c conn) call(ctx context.Context, md metadata.MD, stream grpc.ServerTransportStream) call {
	out := call{Context: ctx, constant: c.constant, md: md, stream: stream}
	if c.constant.span != nil {
		out.id.Propose(requestid.FromContext(ctx))
	}
	return out
}

// asked learns the key of what is looked for in it: those of other packages are private.
type asked struct {
	context.Context //nolint:containedctx // it is a context
	key             *any
}

func (a asked) Value(key any) any {
	*a.key = key
	return nil
}

// call is the context of a server: its client's without that one's values, with what came
// with the call. One context has all of it, as every call needs it.
type call struct {
	context.Context //nolint:containedctx // the client's
	constant        *constant
	md              metadata.MD // nil: none came
	stream          grpc.ServerTransportStream
	id              requestid.Place
}

// Value returns what came with the call, and the client's context for clientKey.
func (c *call) Value(key any) any {
	switch key {
	case c.constant.metadata:
		if c.md == nil {
			return nil
		}
		return c.md
	case c.constant.stream:
		return c.stream
	case c.constant.span, c.constant.baggage, c.constant.end:
		return c.Context.Value(key)
	}
	switch key.(type) {
	case clientKey:
		return c.Context
	case telemetry.IncomingKey:
		return c.md
	}
	if v := c.id.Value(key); v != nil {
		return v
	}
	return c.constant.Value(key)
}

// AfterFunc lets what is made of this context end with it without a goroutine that
// waits for it (package context looks for it).
func (c *call) AfterFunc(f func()) func() bool { return context.AfterFunc(c.Context, f) }

type clientKey struct{}

// begin returns the context of the server of a call. It ends with the client's, at the
// deadline unless that is zero, or by cancel. The one that can be cancelled is around the
// call's, for those that the server makes of it find it there.
func (c *call) begin(deadline time.Time) (_ context.Context, cancel context.CancelFunc) {
	if deadline.IsZero() {
		return context.WithCancel(c)
	}
	return context.WithDeadline(c, deadline)
}

// outgoing returns a copy of the metadata that ctx has for a call.
func outgoing(ctx context.Context) metadata.MD {
	md, _ := metadata.FromOutgoingContext(ctx)
	return md
}

// ClientContext returns the context of the client of the call within this process
// that ctx is of, nil when it is of none.
func ClientContext(ctx context.Context) context.Context {
	if client, ok := ctx.Value(clientKey{}).(context.Context); ok {
		return client
	}
	return inprocgrpc.ClientContext(ctx)
}

// local is the address of both sides.
type local struct{}

func (local) Network() string  { return "inproc" }
func (local) String() string   { return "0" }
func (local) AuthType() string { return "inproc" }
