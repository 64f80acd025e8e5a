package grpcserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// service does what the test says.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
	unary  func(context.Context) error
	stream func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error
	input  func(grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if err := s.unary(ctx); err != nil {
		return nil, err
	}
	return &grpc_testing.SimpleResponse{Payload: r.GetPayload()}, nil
}

func (s *service) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	return s.stream(ss)
}

func (s *service) StreamingInputCall(ss grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	return s.input(ss)
}

// syncBuffer is a log that handlers write and the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type fixture struct {
	conn   *grpc.ClientConn
	client grpc_testing.TestServiceClient
	tel    *telemetry.Telemetry
	logs   *syncBuffer
	end    func() error
	ready  *health.Readiness
}

func start(t *testing.T, s *service, change func(*grpcserver.Config), opts ...grpcserver.Option) *fixture {
	t.Helper()
	f := &fixture{logs: new(syncBuffer), ready: health.NewReadiness(clock.Real())}
	var err error
	if f.tel, err = telemetry.New(t.Context(), "test", "v0", telemetry.DefaultConfig(""), telemetry.WithLogWriter(f.logs)); err != nil {
		t.Fatal(err)
	}
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{
		Telemetry: f.tel, Clock: clock.Real(), IDs: ids.Sequence("req"), Validator: validator,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := grpcserver.DefaultConfig("127.0.0.1:0")
	if change != nil {
		change(&cfg)
	}
	server, err := grpcserver.New(cfg, f.tel, chain, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) },
		append(opts, grpcserver.WithReadiness(f.ready))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	up, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, lifecycle.Options{DrainTimeout: 2 * time.Second}, server.Component(), lifecycle.Component{
			Name: "up", Start: func(context.Context) error { close(up); return nil },
		})
	}()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	f.end = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = f.end() })
	if f.conn, err = grpc.NewClient(server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close() })
	f.client = grpc_testing.NewTestServiceClient(f.conn)
	return f
}

func TestRequestID(t *testing.T) {
	var seen string
	s := &service{unary: func(ctx context.Context) error { seen = requestid.FromContext(ctx); return nil }}
	f := start(t, s, nil)
	for _, c := range []struct{ sent, want string }{
		{"", "req-1"}, {"mine-1.2_X", "mine-1.2_X"}, {"bad id", "req-2"}, {strings.Repeat("x", 129), "req-3"},
	} {
		ctx := t.Context()
		if c.sent != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, requestid.MetadataKey, c.sent)
		}
		var header metadata.MD
		_, err := f.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&header))
		if err != nil || seen != c.want || !slices.Equal(header.Get(requestid.MetadataKey), []string{c.want}) {
			t.Errorf("%q: context %q, header %v, %v", c.sent, seen, header, err)
		}
	}
}

func TestErrorsCarryTheRequestID(t *testing.T) {
	secret := errors.New("pq: password")
	s := &service{
		unary: func(context.Context) error { return apierr.Wrap(apierr.ModelNotFound, secret, "no model m") },
		stream: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			return secret
		},
	}
	f := start(t, s, nil)
	var header, trailer metadata.MD
	_, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	e := apierr.From(err)
	if e.Reason != apierr.ModelNotFound || e.RequestID() != "req-1" || strings.Contains(err.Error(), "password") {
		t.Fatalf("%v %+v", err, e)
	}
	// A header would keep gRPC from trying the call again.
	if len(header) != 0 || !slices.Equal(trailer.Get(requestid.MetadataKey), []string{"req-1"}) {
		t.Fatalf("header %v, trailer %v", header, trailer)
	}
	stream, err := f.client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := stream.Header(); !slices.Equal(header.Get(requestid.MetadataKey), []string{"req-2"}) {
		t.Fatalf("header %v", header)
	}
	_, err = stream.Recv()
	if e := apierr.From(err); e.Reason != apierr.Internal || e.RequestID() != "req-2" || strings.Contains(err.Error(), "password") {
		t.Fatalf("%v", err)
	}
	if logs := f.logs.String(); !strings.Contains(logs, "pq: password") || !strings.Contains(logs, `"request_id":"req-2"`) {
		t.Fatalf("the cause is not in the logs:\n%s", logs)
	}
}

func TestPanicIsInternal(t *testing.T) {
	s := &service{
		unary:  func(context.Context) error { panic("kaboom") },
		stream: func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error { panic("kaboom") },
	}
	f := start(t, s, nil)
	_, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	if e := apierr.From(err); e.Reason != apierr.Internal || e.RequestID() != "req-1" || strings.Contains(err.Error(), "kaboom") {
		t.Fatalf("unary: %v", err)
	}
	stream, err := f.client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if e := apierr.From(err); e.Reason != apierr.Internal || e.RequestID() != "req-2" {
		t.Fatalf("stream: %v", err)
	}
	logs := f.logs.String()
	if strings.Count(logs, "kaboom") < 2 || !strings.Contains(logs, "TestPanicIsInternal.func") {
		t.Fatalf("the stack is not logged:\n%s", logs)
	}
	if metrics := scrape(f); !strings.Contains(metrics, `poterne_rpc_server_duration_seconds_count{method="grpc.testing.TestService/UnaryCall",reason="INTERNAL"} 1`) {
		t.Fatalf("the panic is not counted:\n%s", metrics)
	}
}

func scrape(f *fixture) string {
	w := httptest.NewRecorder()
	telemetry.OpsHandler(f.tel, f.ready).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	s := &service{unary: func(context.Context) error { return nil }}
	f := start(t, s, nil)
	for range 3 {
		if _, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	// The telemetry of a call ends just before its answer leaves.
	metrics := scrape(f)
	for _, want := range []string{
		`poterne_rpc_server_duration_seconds_count{method="grpc.testing.TestService/UnaryCall",reason="OK"} 3`,
		`poterne_rpc_server_in_flight{method="grpc.testing.TestService/UnaryCall"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("lacks %s:\n%s", want, metrics)
		}
	}
}

func TestLimits(t *testing.T) {
	s := &service{unary: func(context.Context) error { return nil }}
	f := start(t, s, func(c *grpcserver.Config) { c.MaxRecvBytes, c.MaxHeaderBytes = 2*config.KiB, 4*config.KiB })
	big := &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: make([]byte, 3000)}}
	if _, err := f.client.UnaryCall(t.Context(), big); apierr.ReasonOf(err) != apierr.PayloadTooLarge {
		t.Fatalf("a large message: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("x", 8192))
	if _, err := f.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err == nil {
		t.Fatal("a large header was taken")
	}
	if _, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	f := start(t, &service{}, nil)
	check := f.ready.Register("engine")
	client := grpc_health_v1.NewHealthClient(f.conn)
	for _, service := range []string{"", "grpc.testing.TestService"} {
		check.NotReady("loading")
		got, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			t.Fatalf("%q: %v %v", service, got, err)
		}
		check.Ready()
		got, err = client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("%q: %v %v", service, got, err)
		}
	}
}

func TestReflection(t *testing.T) {
	f := start(t, &service{}, nil)
	s1, err := grpc_reflection_v1.NewServerReflectionClient(f.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s1.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	got, err := s1.Recv()
	if err != nil || !strings.Contains(got.String(), "grpc.testing.TestService") {
		t.Fatalf("v1: %v %v", got, err)
	}
	_ = s1.CloseSend()
	s0, err := grpc_reflection_v1alpha.NewServerReflectionClient(f.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s0.CloseSend()
	if _, err := s0.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("v1alpha: %v", err)
	}
}

func TestDrainLetsCallsEnd(t *testing.T) {
	inHand, release := make(chan struct{}), make(chan struct{})
	s := &service{unary: func(context.Context) error { close(inHand); <-release; return nil }}
	f := start(t, s, nil)
	result := make(chan error, 1)
	go func() {
		_, err := f.client.UnaryCall(context.WithoutCancel(t.Context()), &grpc_testing.SimpleRequest{})
		result <- err
	}()
	<-inHand
	ended := make(chan error, 1)
	go func() { ended <- f.end() }()
	close(release)
	if err := <-result; err != nil {
		t.Fatalf("the call in hand: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("Run = %v", err)
	}
}

func TestStopCutsCallsThatDoNotEnd(t *testing.T) {
	inHand := make(chan struct{})
	s := &service{unary: func(ctx context.Context) error { close(inHand); <-ctx.Done(); return ctx.Err() }}
	f := start(t, s, nil)
	result := make(chan error, 1)
	go func() {
		_, err := f.client.UnaryCall(context.WithoutCancel(t.Context()), &grpc_testing.SimpleRequest{})
		result <- err
	}()
	<-inHand
	if err := f.end(); err == nil || !strings.Contains(err.Error(), "drain grpc server: ") {
		t.Fatalf("Run = %v", err)
	}
	if err := <-result; status.Code(err) != codes.Unavailable {
		t.Fatalf("the call = %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	s, err := grpcserver.New(grpcserver.DefaultConfig(lis.Addr().String()), telemetry.Discard(), nil, func(grpc.ServiceRegistrar) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := lifecycle.Run(t.Context(), lifecycle.Options{}, s.Component()); err == nil || !strings.Contains(err.Error(), "grpc port") {
		t.Fatalf("Run = %v", err)
	}
}
