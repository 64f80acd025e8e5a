package grpcclient_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// backend is a server that does what the test says.
type backend struct {
	grpc_testing.UnimplementedTestServiceServer
	calls  atomic.Int64
	unary  func(ctx context.Context, n int64) error
	stream func(n int64, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error
	addr   string
	server *grpc.Server
}

func (b *backend) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Username: b.addr}, b.unary(ctx, b.calls.Add(1))
}

func (b *backend) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, b.unary(ctx, b.calls.Add(1))
}

func (b *backend) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	return b.stream(b.calls.Add(1), ss)
}

func serve(t *testing.T, b *backend) *backend {
	t.Helper()
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr, b.server = lis.Addr().String(), grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(b.server, b)
	go func() { _ = b.server.Serve(lis) }()
	t.Cleanup(b.server.Stop)
	return b
}

func dial(t *testing.T, cfg grpcclient.Config, backends []*backend, opts ...grpcclient.Option) grpc_testing.TestServiceClient {
	t.Helper()
	r := manual.NewBuilderWithScheme("test")
	var addrs []resolver.Address
	for _, b := range backends {
		addrs = append(addrs, resolver.Address{Addr: b.addr})
	}
	r.InitialState(resolver.State{Addresses: addrs})
	conn, err := grpcclient.Dial("test:///x", cfg, telemetry.Discard(), append(opts, grpcclient.WithResolvers(r))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpc_testing.NewTestServiceClient(conn)
}

var errAway = status.Error(codes.Unavailable, "away")

const unaryMethod = "/grpc.testing.TestService/UnaryCall"

func TestOnlyIdempotentCallsAreTriedAgain(t *testing.T) {
	b := serve(t, &backend{unary: func(_ context.Context, n int64) error {
		if n < 3 {
			return errAway
		}
		return nil
	}})
	cfg := grpcclient.DefaultConfig()
	cfg.Retry.BaseBackoff = time.Millisecond
	client := dial(t, cfg, []*backend{b})
	if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Unavailable || b.calls.Load() != 1 {
		t.Fatalf("not declared: %v after %d calls", err, b.calls.Load())
	}
	b.calls.Store(0)
	client = dial(t, cfg, []*backend{b}, grpcclient.WithIdempotent(unaryMethod))
	if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil || b.calls.Load() != 3 {
		t.Fatalf("declared: %v after %d calls", err, b.calls.Load())
	}
	b.calls.Store(0)
	if _, err := client.EmptyCall(t.Context(), &grpc_testing.Empty{}); err == nil || b.calls.Load() != 1 {
		t.Fatalf("another method: %v after %d calls", err, b.calls.Load())
	}
	b.calls.Store(0)
	client = dial(t, cfg, []*backend{b}, grpcclient.WithIdempotent("/grpc.testing.TestService"))
	if _, err := client.EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil || b.calls.Load() != 3 {
		t.Fatalf("a whole service: %v after %d calls", err, b.calls.Load())
	}
	b.unary = func(context.Context, int64) error { return status.Error(codes.Internal, "broken") }
	b.calls.Store(0)
	if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Internal || b.calls.Load() != 1 {
		t.Fatalf("another code: %v after %d calls", err, b.calls.Load())
	}
	if _, err := grpcclient.Dial("x:1", cfg, telemetry.Discard(), grpcclient.WithIdempotent("UnaryCall")); err == nil {
		t.Fatal("a method without a service was taken")
	}
}

func TestStreamsAreTriedAgainBeforeTheFirstAnswerOnly(t *testing.T) {
	b := serve(t, &backend{stream: func(n int64, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		if n == 1 {
			return errAway
		}
		if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		return errAway
	}})
	cfg := grpcclient.DefaultConfig()
	cfg.Retry.BaseBackoff = time.Millisecond
	client := dial(t, cfg, []*backend{b}, grpcclient.WithIdempotent("/grpc.testing.TestService/StreamingOutputCall"))
	stream, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil || b.calls.Load() != 2 {
		t.Fatalf("before the first answer: %v after %d calls", err, b.calls.Load())
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || b.calls.Load() != 2 {
		t.Fatalf("after it: %v after %d calls", err, b.calls.Load())
	}
}

func TestRetryBudget(t *testing.T) {
	b := serve(t, &backend{unary: func(context.Context, int64) error { return errAway }})
	cfg := grpcclient.DefaultConfig()
	cfg.Retry.BaseBackoff, cfg.Retry.MaxBackoff = time.Microsecond, time.Microsecond
	cfg.Retry.BudgetTokens, cfg.Breaker.Enabled = 20, false
	client := dial(t, cfg, []*backend{b}, grpcclient.WithIdempotent(unaryMethod))
	const calls = 100
	for range calls {
		_, _ = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	}
	if extra := b.calls.Load() - calls; extra < 1 || extra > 10 {
		t.Fatalf("%d calls were tried again %d times; a bucket of 20 allows at most 10", calls, extra)
	}
}

func TestAnotherAddressIsTried(t *testing.T) {
	good := func(context.Context, int64) error { return nil }
	a, b := serve(t, &backend{unary: good}), serve(t, &backend{unary: good})
	client := dial(t, grpcclient.DefaultConfig(), []*backend{a, b}, grpcclient.WithIdempotent(unaryMethod))
	for a.calls.Load() == 0 || b.calls.Load() == 0 { // both are connected
		if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	a.server.Stop()
	for i := range 50 {
		if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatalf("call %d after one of two backends was killed: %v", i, err)
		}
	}
}

func TestOutlierIsLeftOut(t *testing.T) {
	var ill atomic.Bool
	sick := serve(t, &backend{unary: func(context.Context, int64) error {
		if ill.Load() {
			return errAway
		}
		return nil
	}})
	well := serve(t, &backend{unary: func(context.Context, int64) error { return nil }})
	cfg := grpcclient.DefaultConfig()
	cfg.Outlier.BaseEjection, cfg.Outlier.MaxEjection, cfg.Breaker.Enabled = time.Hour, time.Hour, false
	client := dial(t, cfg, []*backend{sick, well})
	for sick.calls.Load() == 0 || well.calls.Load() == 0 { // both are connected
		if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	sick.calls.Store(0)
	ill.Store(true)
	for range 200 {
		_, _ = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	}
	if n := sick.calls.Load(); n != int64(cfg.Outlier.ConsecutiveFailures) {
		t.Fatalf("the sick backend was called %d times, want %d", n, cfg.Outlier.ConsecutiveFailures)
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	b := &fakeConn{}
	synctest.Test(t, func(t *testing.T) {
		cfg := grpcclient.DefaultConfig()
		conn := grpcclient.Intercept("inference", b, cfg, telemetry.Discard())
		call := func() error {
			return conn.Invoke(t.Context(), "/a.B/C", &emptypb.Empty{}, &emptypb.Empty{})
		}
		b.err = apierr.New(apierr.Overloaded, "busy").GRPCStatus().Err()
		for range 100 {
			_ = call()
		}
		if b.calls != 100 {
			t.Fatalf("an overload is an answer, but only %d of 100 calls passed", b.calls)
		}
		pass(t, 2*cfg.Breaker.Window)
		b.calls, b.err = 0, errAway
		for range 100 {
			_ = call()
		}
		if b.calls != int(cfg.Breaker.MinCalls) {
			t.Fatalf("%d calls passed, want %d before the breaker opens", b.calls, cfg.Breaker.MinCalls)
		}
		err := call()
		if e := apierr.From(err); e.Reason != apierr.Unavailable || e.RetryAfter != cfg.Breaker.OpenFor {
			t.Fatalf("an open breaker: %v", err)
		}
		if _, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/a.B/C"); apierr.ReasonOf(err) != apierr.Unavailable {
			t.Fatalf("a stream through an open breaker: %v", err)
		}
		pass(t, cfg.Breaker.OpenFor+time.Millisecond)
		b.calls, b.err = 0, nil
		for range 10 {
			if err := call(); err != nil {
				t.Fatalf("after the pause: %v", err)
			}
		}
	})
}

// pass lets time pass, in synctest's bubble.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := clock.Sleep(t.Context(), clock.Real(), d); err != nil {
		t.Fatal(err)
	}
}

// fakeConn is a backend in this goroutine.
type fakeConn struct {
	calls  int
	err    error
	ctx    context.Context
	stream grpc.ClientStream
}

func (c *fakeConn) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	c.calls++
	c.ctx = ctx
	return c.err
}

func (c *fakeConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c.calls++
	c.ctx = ctx
	return c.stream, c.err
}

type fakeStream struct {
	grpc.ClientStream
	err error
}

func (s *fakeStream) RecvMsg(any) error { return s.err }

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeConn{stream: &fakeStream{err: errAway}}
		cfg := grpcclient.DefaultConfig()
		conn := grpcclient.Intercept("x", b, cfg, telemetry.Discard())
		left := func(timeout time.Duration, stream bool) time.Duration {
			t.Helper()
			ctx := t.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			var err error
			if stream {
				_, err = conn.NewStream(ctx, &grpc.StreamDesc{}, "/a.B/C")
			} else {
				err = conn.Invoke(ctx, "/a.B/C", &emptypb.Empty{}, &emptypb.Empty{})
			}
			if err != nil {
				t.Fatal(err)
			}
			end, ok := b.ctx.Deadline()
			if !ok {
				return 0
			}
			return time.Until(end)
		}
		for _, c := range []struct {
			timeout time.Duration
			stream  bool
			want    time.Duration
		}{
			{0, false, cfg.Timeout},
			{0, true, 0},
			{time.Second, false, time.Second - cfg.Headroom},
			{time.Second, true, time.Second - cfg.Headroom},
			{100 * time.Millisecond, false, 90 * time.Millisecond}, // at most a tenth
		} {
			if got := left(c.timeout, c.stream); got != c.want {
				t.Errorf("%v (stream %v): %v left, want %v", c.timeout, c.stream, got, c.want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		pass(t, 2*time.Second)
		b.calls = 0
		if err := conn.Invoke(ctx, "/a.B/C", nil, nil); apierr.ReasonOf(err) != apierr.DeadlineExceeded || b.calls != 0 {
			t.Fatalf("past its deadline: %v, %d calls", err, b.calls)
		}
	})
}

func TestStreamEndsFreeTheirContext(t *testing.T) {
	b := &fakeConn{stream: &fakeStream{err: errAway}}
	conn := grpcclient.Intercept("x", b, grpcclient.DefaultConfig(), telemetry.Discard())
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/a.B/C")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(nil); !errors.Is(err, errAway) || b.ctx.Err() == nil {
		t.Fatalf("%v, context %v", err, b.ctx.Err())
	}
}

func TestIdentifiersTravel(t *testing.T) {
	var got metadata.MD
	b := serve(t, &backend{unary: func(ctx context.Context, _ int64) error { got, _ = metadata.FromIncomingContext(ctx); return nil }})
	client := dial(t, grpcclient.DefaultConfig(), []*backend{b})
	ctx := requestid.NewContext(t.Context(), "req-7")
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	if ids := got.Get(requestid.MetadataKey); len(ids) != 1 || ids[0] != "req-7" || len(got.Get("traceparent")) != 1 {
		t.Fatalf("%v", got)
	}
}

func TestConfigValidate(t *testing.T) {
	var p config.Problems
	grpcclient.DefaultConfig().Validate(&p, "client")
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	bad := grpcclient.Config{Headroom: -1, Breaker: grpcclient.Breaker{Enabled: true}, Outlier: grpcclient.Outlier{Enabled: true, MaxEjectedPercent: 101}}
	bad.Validate(&p, "client")
	if err := p.Err(); err == nil || strings.Count(err.Error(), "\n") != 22 {
		t.Fatalf("Validate = %v", err)
	}
}
