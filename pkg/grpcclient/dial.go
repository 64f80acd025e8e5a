package grpcclient

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fullstorydev/grpchan"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// Option changes what Dial and Intercept make.
type Option func(*options)

type options struct {
	unary      []grpc.UnaryClientInterceptor
	stream     []grpc.StreamClientInterceptor
	resolvers  []resolver.Builder
	direct     []string
	creds      credentials.TransportCredentials
	dial       []grpc.DialOption
	idempotent []string
	outgoing   []Outgoing
}

// Outgoing returns what is to go with a call that leaves, given what did so far. Its error
// is the call's.
type Outgoing func(ctx context.Context, m Metadata) (Metadata, error)

// WithOutgoing adds what says what goes with each call, in the order of the options.
func WithOutgoing(o Outgoing) Option {
	return func(out *options) { out.outgoing = append(out.outgoing, o) }
}

// WithInterceptors adds a step inside those of this package, before the call
// leaves. Either may be nil. The steps must not use the *grpc.ClientConn given
// to them: it is nil on an in-process connection.
func WithInterceptors(unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) Option {
	return func(o *options) {
		if unary != nil {
			o.unary = append(o.unary, unary)
		}
		if stream != nil {
			o.stream = append(o.stream, stream)
		}
	}
}

// WithResolvers makes the schemes of b known to this connection alone.
func WithResolvers(b ...resolver.Builder) Option {
	return func(o *options) { o.resolvers = append(o.resolvers, b...) }
}

// WithCredentials uses these transport credentials in place of those of the
// section tls.
func WithCredentials(c credentials.TransportCredentials) Option {
	return func(o *options) { o.creds = c }
}

// WithIdempotent declares methods that may be tried again, besides those whose
// proto says so with idempotency_level: "/package.Service/Method", or
// "/package.Service" for all of its methods.
func WithIdempotent(methods ...string) Option {
	return func(o *options) { o.idempotent = append(o.idempotent, methods...) }
}

// WithDialOptions adds options of gRPC itself.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, opts...) }
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Dial returns a connection to target, which connects when it is first used.
// target is host:port, a gRPC target such as dns:///host:port, or one of a
// resolver given by WithResolvers. cfg must be valid.
func Dial(target string, cfg Config, tel *telemetry.Telemetry, opts ...Option) (*grpc.ClientConn, error) {
	o := newOptions(opts)
	serviceConfig, err := serviceConfig(cfg, o.idempotent)
	if err != nil {
		return nil, err
	}
	if o.creds, err = o.credentials(target, cfg, tel); err != nil {
		return nil, fmt.Errorf("grpcclient: %w", err)
	}
	c := newCaller(target, cfg, tel, o.outgoing)
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(o.creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // a resolver must not change the policy
		grpc.WithChainUnaryInterceptor(append([]grpc.UnaryClientInterceptor{c.unary}, o.unary...)...),
		grpc.WithChainStreamInterceptor(append([]grpc.StreamClientInterceptor{c.stream}, o.stream...)...),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(cfg.MaxRecvBytes.Int()), grpc.MaxCallSendMsgSize(cfg.MaxSendBytes.Int())),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: cfg.KeepaliveTime, Timeout: cfg.KeepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: cfg.MaxConnectBackoff,
			},
			MinConnectTimeout: cfg.ConnectTimeout,
		}),
		grpc.WithIdleTimeout(0), // a backend that is idle must stay warm
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
	}
	if len(o.direct) > 0 { // innermost
		d, err := newDirect(cfg, o, tel)
		if err != nil {
			return nil, err
		}
		dial = append(dial, grpc.WithChainUnaryInterceptor(d.unary), grpc.WithChainStreamInterceptor(d.stream))
	}
	if len(o.resolvers) > 0 {
		dial = append(dial, grpc.WithResolvers(o.resolvers...))
	}
	conn, err := grpc.NewClient(target, append(dial, o.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("grpcclient: %s: %w", target, err)
	}
	return conn, nil
}

// What may be on its way without a word from here, in bytes, on a stream and on a
// connection. Windows that gRPC makes as large as the line takes begin at 64 KiB, and
// cost a ping, its answer and two writes for nearly every message that comes alone.
const (
	streamWindow = 256 << 10
	connWindow   = 1 << 20
)

// credentials are those given, those of the section tls, or none.
func (o options) credentials(target string, cfg Config, tel *telemetry.Telemetry) (credentials.TransportCredentials, error) {
	switch {
	case o.creds != nil:
		return o.creds, nil
	case cfg.TLS.On():
		return cfg.TLS.Client(tlsfiles.Options{Name: target, Clock: clock.Real(), Telemetry: tel})
	default:
		return insecure.NewCredentials(), nil
	}
}

// Intercept returns an in-process connection on which calls pass the same steps
// as on one from Dial: request id, trace, deadline and breaker. There are no
// retries and no addresses on it. name stands for the backend in errors.
func Intercept(name string, conn grpc.ClientConnInterface, cfg Config, tel *telemetry.Telemetry, opts ...Option) grpc.ClientConnInterface {
	o := newOptions(opts)
	h, hands := conn.(hander)
	if hands {
		cfg.Breaker.Enabled = false // the server is there as long as its caller is
	}
	c := newCaller(name, cfg, tel, o.outgoing)
	// InterceptClientConn wraps: what is applied last is outermost.
	for _, v := range slices.Backward(o.unary) {
		conn = grpchan.InterceptClientConn(conn, v, nil)
	}
	for _, v := range slices.Backward(o.stream) {
		conn = grpchan.InterceptClientConn(conn, nil, v)
	}
	conn = grpchan.InterceptClientConn(conn, c.unary, c.stream)
	if hands && len(o.unary) == 0 && len(o.stream) == 0 {
		return handing{ClientConnInterface: conn, caller: c, to: h, same: inproc.IsSameRequest(h)}
	}
	return conn
}

// hander is a connection that takes a call's metadata as it is, in place of what its
// context has, and need not copy it, and a deadline in place of a context that has it.
type hander interface {
	Hand(ctx context.Context, md metadata.MD, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error
	// HandStream is it for streams whose answers are taken (inproc.Taking).
	HandStream(ctx context.Context, md metadata.MD, deadline time.Time, method string, request any, take func(answer any) error, opts ...grpc.CallOption) error
}

// handing is a connection on which no step is between the caller's and the server.
type handing struct {
	grpc.ClientConnInterface // for other streams
	caller                   *caller
	to                       hander
	same                     bool // calls are of their callers' requests (inproc.SameRequest)
}

func (h handing) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l, err := h.caller.leave(ctx, method, h.caller.cfg.Timeout, h.same)
	if err != nil {
		return err
	}
	err = h.to.Hand(l.ctx, l.md, l.deadline, method, args, reply, opts...) //nolint:contextcheck // the call's own, made of the caller's
	l.tell(err)
	return err
}

func (h handing) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	take := inproc.TakerOf(opts)
	if take == nil || desc.ClientStreams {
		return h.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	}
	return inproc.Taken(ctx, func(request any) error {
		l, err := h.caller.leave(ctx, method, 0, h.same)
		if err != nil {
			return err
		}
		defer func() { l.tell(err) }()                                                 // take may panic
		err = h.to.HandStream(l.ctx, l.md, l.deadline, method, request, take, opts...) //nolint:contextcheck // the call's own, made of the caller's
		return err
	}), nil
}
