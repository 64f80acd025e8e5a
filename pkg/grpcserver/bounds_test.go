package grpcserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
)

// watchHealth opens a watch and returns what came first.
func watchHealth(ctx context.Context, conn *grpc.ClientConn) error {
	w, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = w.Recv()
	}
	return err
}

func TestWatchesAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		all, one int
		want     apierr.Reason
	}{
		"of one address": {10, 2, apierr.RateLimited},
		"in all":         {2, 10, apierr.Overloaded},
	} {
		f := start(t, &service{}, func(cfg *grpcserver.Config) { cfg.MaxWatches, cfg.MaxWatchesPerAddress = c.all, c.one })
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			if err := watchHealth(ctx, f.conn); err != nil {
				t.Fatal(err)
			}
		}
		err := watchHealth(ctx, f.conn)
		if e := apierr.From(err); e.Reason != c.want || e.RetryAfter == 0 {
			t.Errorf("%s: a third watch: %v", name, err)
		}
		if _, err := grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("%s: a check: %v", name, err)
		}
		cancel()
		for apierr.ReasonOf(err) == c.want { // until the server has seen the end
			err = watchHealth(t.Context(), f.conn)
		}
		if err != nil {
			t.Errorf("%s: once the others are closed: %v", name, err)
		}
		_ = f.end()
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	f := start(t, &service{unary: func(context.Context) error { return nil }}, func(cfg *grpcserver.Config) { cfg.MaxConnections = 1 })
	if _, err := f.client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	second, err := grpc.NewClient(f.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	client := grpc_testing.NewTestServiceClient(second)
	if _, err := client.UnaryCall(short, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); apierr.ReasonOf(err) != apierr.DeadlineExceeded {
		t.Fatalf("a second connection: %v, %v", second.GetState(), err)
	}
	if second.GetState() == connectivity.Ready {
		t.Error("the second connection is ready")
	}
	_ = f.conn.Close()
	if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("once the first is closed: %v", err)
	}
}

// A caller that does not read keeps its handler for send_timeout and no longer.
func TestAStreamThatIsNotReadIsEnded(t *testing.T) {
	ended := make(chan error, 1)
	f := start(t, &service{stream: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		msg := &grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: make([]byte, 64<<10)}}
		for {
			if err := ss.Send(msg); err != nil {
				ended <- err
				return err
			}
		}
	}}, func(cfg *grpcserver.Config) { cfg.SendTimeout = 50 * time.Millisecond })
	if _, err := f.client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if apierr.ReasonOf(err) != apierr.Cancelled {
			t.Errorf("the send failed with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the handler still sends")
	}
}

// One that pauses between messages longer than send_timeout is no such caller.
func TestAQuietStreamIsNotEnded(t *testing.T) {
	step := make(chan struct{})
	f := start(t, &service{stream: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		for range 2 {
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			<-step
		}
		return nil
	}}, func(cfg *grpcserver.Config) {
		cfg.SendTimeout, cfg.ReceiveTimeout = 20*time.Millisecond, 20*time.Millisecond
	})
	stream, err := f.client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
		step <- struct{}{}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// A call of which only the header comes is ended, though of a unary one no step
// of the chain has seen anything yet, and a streaming one is with its handler.
func TestARequestThatDoesNotComeIsGivenUp(t *testing.T) {
	for _, method := range []string{"UnaryCall", "StreamingOutputCall"} {
		t.Run(method, func(t *testing.T) { doesNotCome(t, method) })
	}
}

func doesNotCome(t *testing.T, method string) {
	t.Helper()
	f := start(t, &service{}, func(cfg *grpcserver.Config) { cfg.ReceiveTimeout = 50 * time.Millisecond })
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.conn.Target())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: headers(
		":method", "POST", ":scheme", "http", ":path", "/grpc.testing.TestService/"+method, ":authority", "x",
		"content-type", "application/grpc", "te", "trailers")})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("the call is still open: %v", err)
		}
		if h := frame.Header(); h.StreamID == 1 && (h.Type == http2.FrameRSTStream || h.Flags.Has(http2.FlagHeadersEndStream)) {
			return
		}
	}
}

func headers(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}
