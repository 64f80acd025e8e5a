package callwire_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/callwire"
)

const (
	method       = "/grpc.testing.TestService/UnaryCall"
	streamMethod = "/grpc.testing.TestService/StreamingOutputCall"
)

// service answers as the test says.
type service struct {
	testpb.UnimplementedTestServiceServer
	calls atomic.Int64
	unary func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)

	streams atomic.Int64
	stream  func(*testpb.StreamingOutputCallRequest, grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error
}

func (s *service) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	s.streams.Add(1)
	return s.stream(req, to)
}

func (s *service) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.calls.Add(1)
	return s.unary(ctx, req)
}

// node is a gRPC server that hands connections over.
type node struct {
	addr   string
	grpc   *grpc.Server
	direct *callwire.Server
}

func serve(tb testing.TB, s *service, creds credentials.TransportCredentials, change ...func(*callwire.ServerOptions)) *node {
	tb.Helper()
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	chain := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if err := grpc.SetHeader(ctx, map[string][]string{"chain": {info.FullMethod}}); err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
	streams := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := ss.SetHeader(map[string][]string{"chain": {info.FullMethod}}); err != nil {
			return err
		}
		return handler(srv, ss)
	}
	o := callwire.ServerOptions{
		Unary: chain, Stream: streams, MaxRecvBytes: 1 << 20, MaxSendBytes: 1 << 20, MaxHeadBytes: 32 << 10,
		Idle: time.Minute, MaxConnections: 100, Receive: 10 * time.Second, Send: 10 * time.Second,
	}
	for _, c := range change {
		c(&o)
	}
	n := &node{addr: lis.Addr().String(), direct: callwire.NewServer(o)}
	n.grpc = grpc.NewServer(grpc.Creds(n.direct.Credentials(creds)), grpc.UnaryInterceptor(chain),
		grpc.StreamInterceptor(streams), grpc.MaxSendMsgSize(1<<20))
	testpb.RegisterTestServiceServer(n.direct.Registrar(n.grpc), s)
	go func() { _ = n.grpc.Serve(n.direct.Listener(lis)) }()
	tb.Cleanup(func() { n.direct.Stop(); n.grpc.Stop() })
	return n
}

func pool(tb testing.TB, creds credentials.TransportCredentials, perAddress int, change ...func(*callwire.PoolOptions)) *callwire.Pool {
	tb.Helper()
	o := callwire.PoolOptions{
		Credentials: creds, PerAddress: perAddress, DialTimeout: 5 * time.Second,
		KeepaliveTime: 30 * time.Second, KeepaliveTimeout: 5 * time.Second, MaxRecvBytes: 1 << 20,
	}
	for _, c := range change {
		c(&o)
	}
	p := callwire.NewPool(o)
	tb.Cleanup(p.Close)
	return p
}

// carried calls until the pool has a connection: a call never waits for one.
func carried(t *testing.T, p *callwire.Pool, addr string, ctx context.Context, req *testpb.SimpleRequest, opts ...grpc.CallOption) (*testpb.SimpleResponse, error) { //nolint:revive // t comes first
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		resp := new(testpb.SimpleResponse)
		if ok, err := p.Call(ctx, addr, method, req, resp, opts); ok {
			return resp, err
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatal("no call was carried")
	return nil, nil
}

func echo(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

func payload(n int) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, n)}}
}

func plain() credentials.TransportCredentials { return insecure.NewCredentials() }
