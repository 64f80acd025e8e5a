package callwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/callwire"
)

func streams(o *callwire.PoolOptions) { o.Streams = true }

// line is a server with its clients: calls in the ordinary way, and on connections of their
// own.
type line struct {
	*node
	pool *callwire.Pool
	conn *grpc.ClientConn
}

func newLine(tb testing.TB, s *service, perAddress int, change ...func(*callwire.PoolOptions)) *line {
	tb.Helper()
	return lineTo(tb, serve(tb, s, plain()), perAddress, change...)
}

func lineTo(tb testing.TB, n *node, perAddress int, change ...func(*callwire.PoolOptions)) *line {
	tb.Helper()
	conn, err := grpc.NewClient(n.addr, grpc.WithTransportCredentials(plain()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &line{node: n, conn: conn, pool: pool(tb, plain(), perAddress, append(change, streams)...)}
}

func (l *line) ordinary(ctx context.Context, opts ...grpc.CallOption) func() (grpc.ClientStream, error) {
	return func() (grpc.ClientStream, error) {
		return l.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "StreamingOutputCall", ServerStreams: true}, streamMethod, opts...)
	}
}

// open begins a stream on a connection of its own, when there is one.
func (l *line) open(tb testing.TB, ctx context.Context, opts ...grpc.CallOption) grpc.ClientStream { //nolint:revive // tb comes first
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if s := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Opts: opts, Ordinary: l.ordinary(ctx, opts...)}); s != nil {
			return s
		}
		<-time.After(2 * time.Millisecond)
	}
	tb.Fatal("no stream was carried")
	return nil
}

// heard is all that a client hears of a stream.
type heard struct {
	header, trailer metadata.MD
	bodies          []string
	err             error
}

// hear sends a request and receives until the end.
func hear(s grpc.ClientStream, req *testpb.StreamingOutputCallRequest) (h heard) {
	if h.err = s.SendMsg(req); h.err != nil {
		return h
	}
	if h.err = s.CloseSend(); h.err != nil {
		return h
	}
	for {
		resp := new(testpb.StreamingOutputCallResponse)
		if h.err = s.RecvMsg(resp); h.err != nil {
			break
		}
		h.bodies = append(h.bodies, string(resp.GetPayload().GetBody()))
	}
	if errors.Is(h.err, io.EOF) {
		h.err = nil
	}
	h.header, _ = s.Header()
	h.trailer = s.Trailer()
	return h
}

// count answers as many messages as are asked for, of the sizes that are.
func count(req *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for i, p := range req.GetResponseParameters() {
		if err := to.Send(part(fmt.Sprint(i), int(p.GetSize()))); err != nil {
			return err
		}
	}
	return nil
}

func part(text string, size int) *testpb.StreamingOutputCallResponse {
	b := make([]byte, max(size, len(text)))
	copy(b, text)
	return &testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: b}}
}

func ask(sizes ...int32) *testpb.StreamingOutputCallRequest {
	req := new(testpb.StreamingOutputCallRequest)
	for _, n := range sizes {
		req.ResponseParameters = append(req.ResponseParameters, &testpb.ResponseParameters{Size: n})
	}
	return req
}
