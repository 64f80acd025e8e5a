package grpcclient_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// taker is a server that takes direct calls, and tells which were.
type taker struct {
	testpb.UnimplementedTestServiceServer
	addr             string
	component        lifecycle.Component
	direct, ordinary atomic.Int64
	open             atomic.Int64 // connections
	fail             atomic.Bool
	stream           func(grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error
}

func (s *taker) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if way := fmt.Sprintf("%T", grpc.ServerTransportStreamFromContext(ctx)); strings.Contains(way, "callwire") {
		s.direct.Add(1)
	} else {
		s.ordinary.Add(1)
	}
	if s.fail.Load() {
		return nil, status.Error(codes.Unavailable, "away")
	}
	return new(testpb.SimpleResponse), nil
}

func (s *taker) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	_, err := s.UnaryCall(ctx, nil)
	return new(testpb.Empty), err
}

type counting struct {
	net.Listener
	open *atomic.Int64
}

type counted struct {
	net.Conn
	once atomic.Bool
	open *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &counted{Conn: c, open: l.open}, nil
}

func (c *counted) Close() error {
	if c.once.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func takes(t *testing.T, change ...func(*grpcserver.Config)) *taker {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &taker{addr: lis.Addr().String()}
	cfg := grpcserver.DefaultConfig(s.addr)
	for _, c := range change {
		c(&cfg)
	}
	server, err := grpcserver.New(cfg, telemetry.Discard(), nil,
		func(r grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(r, s) },
		grpcserver.WithListener(counting{lis, &s.open}), grpcserver.WithDirect())
	if err != nil {
		t.Fatal(err)
	}
	s.component = server.Component()
	if err := s.component.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.component.Run(t.Context()) }()
	t.Cleanup(func() { _ = s.component.Stop(context.WithoutCancel(t.Context())) })
	return s
}

func dialTakers(t *testing.T, cfg grpcclient.Config, takers ...*taker) (testpb.TestServiceClient, *grpc.ClientConn) {
	t.Helper()
	return dialWith(t, telemetry.Discard(), cfg, takers...)
}

func dialWith(t *testing.T, tel *telemetry.Telemetry, cfg grpcclient.Config, takers ...*taker) (testpb.TestServiceClient, *grpc.ClientConn) {
	t.Helper()
	r := manual.NewBuilderWithScheme("test")
	var addrs []resolver.Address
	for _, s := range takers {
		addrs = append(addrs, resolver.Address{Addr: s.addr})
	}
	r.InitialState(resolver.State{Addresses: addrs})
	conn, err := grpcclient.Dial("test:///x", cfg, tel, grpcclient.WithResolvers(r), grpcclient.WithDirect(unaryMethod, streamMethod))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn), conn
}

// until calls until what it waits for is so.
func until(t *testing.T, what string, so func() bool, call func() error) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); <-time.After(time.Millisecond) {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not yet", what)
		}
	}
}

func TestDirectCallsGoToEveryBackend(t *testing.T) {
	a, b := takes(t), takes(t)
	client, conn := dialTakers(t, grpcclient.DefaultConfig(), a, b)
	call := func() error { _, err := client.UnaryCall(t.Context(), new(testpb.SimpleRequest)); return err }
	until(t, "both are called directly", func() bool { return a.direct.Load() > 10 && b.direct.Load() > 10 }, call)
	before := a.direct.Load() + b.direct.Load()
	if _, err := client.EmptyCall(t.Context(), new(testpb.Empty)); err != nil {
		t.Fatal(err)
	}
	if a.direct.Load()+b.direct.Load() != before {
		t.Error("a method that was not named was called directly")
	}
	// A backend that drains is chosen no more, and no call fails.
	drained := make(chan error, 1)
	go func() { drained <- a.component.Drain(t.Context()) }()
	until(t, "the drain", func() bool { return len(drained) > 0 }, call)
	was := a.direct.Load() + a.ordinary.Load()
	for range 100 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	if now := a.direct.Load() + a.ordinary.Load(); now != was {
		t.Errorf("%d calls after the drain", now-was)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "all connections are closed", func() bool { return b.open.Load() == 0 }, func() error { return nil })
}

func TestNoDirectConnections(t *testing.T) {
	s := takes(t)
	cfg := grpcclient.DefaultConfig()
	cfg.DirectConnections = 0
	client, _ := dialTakers(t, cfg, s)
	for range 50 {
		if _, err := client.UnaryCall(t.Context(), new(testpb.SimpleRequest)); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
	if s.direct.Load() != 0 || s.ordinary.Load() != 50 {
		t.Errorf("%d direct calls, %d ordinary ones", s.direct.Load(), s.ordinary.Load())
	}
}

// Failures of direct calls eject an address as those of ordinary ones do.
func TestDirectFailuresEject(t *testing.T) {
	sick, well := takes(t), takes(t)
	cfg := grpcclient.DefaultConfig()
	cfg.Outlier.BaseEjection, cfg.Outlier.MaxEjection, cfg.Breaker.Enabled = time.Hour, time.Hour, false
	client, _ := dialTakers(t, cfg, sick, well)
	call := func() error { _, err := client.UnaryCall(t.Context(), new(testpb.SimpleRequest)); return err }
	until(t, "both are called directly", func() bool { return sick.direct.Load() > 0 && well.direct.Load() > 0 }, call)
	sick.fail.Store(true)
	for range 4 * cfg.Outlier.ConsecutiveFailures {
		_ = call()
	}
	before := sick.direct.Load() + sick.ordinary.Load()
	for range 20 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	if sick.direct.Load()+sick.ordinary.Load() != before {
		t.Error("the address is called still")
	}
}
