package inproc_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

type service struct {
	grpc_testing.UnimplementedTestServiceServer
	unary  func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error)
	duplex func(grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error
	output func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return s.unary(ctx, r)
}

func (s *service) FullDuplexCall(ss grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	return s.duplex(ss)
}

func (s *service) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	return s.output(ss)
}

func connect(t *testing.T, s *service) (grpc_testing.TestServiceClient, grpc.ClientConnInterface) {
	t.Helper()
	tel := telemetry.Discard()
	observe, err := grpcserver.Telemetry(tel, clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	chain := grpcserver.Chain{grpcserver.Recover(tel.Logger), grpcserver.RequestID(ids.Sequence("req")), observe, grpcserver.Errors()}
	conn := inproc.New(chain, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) })
	conn = grpcclient.Intercept("test", conn, grpcclient.DefaultConfig(), tel)
	return grpc_testing.NewTestServiceClient(conn), conn
}

func body(b string) *grpc_testing.Payload { return &grpc_testing.Payload{Body: []byte(b)} }

type ctxKey struct{}

func TestMessagesAreCopiesAndContextValuesStay(t *testing.T) {
	var got *grpc_testing.SimpleRequest
	answer := &grpc_testing.SimpleResponse{Payload: body("answer")}
	client, _ := connect(t, &service{unary: func(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		if ctx.Value(ctxKey{}) != nil {
			return nil, errors.New("the caller's values arrived")
		}
		got = r
		return answer, nil
	}})
	sent := &grpc_testing.SimpleRequest{Payload: body("question")}
	received, err := client.UnaryCall(context.WithValue(t.Context(), ctxKey{}, 1), sent)
	if err != nil {
		t.Fatal(err)
	}
	sent.Payload.Body[0], answer.Payload.Body[0] = 'X', 'X'
	if string(got.GetPayload().GetBody()) != "question" || string(received.GetPayload().GetBody()) != "answer" {
		t.Fatalf("shared: %v %v", got, received)
	}
}

func TestSharedMessagesAreTwoOfTheSameContent(t *testing.T) {
	var got *grpc_testing.SimpleRequest
	answer := &grpc_testing.SimpleResponse{Payload: body("answer"), Username: "server"}
	s := &service{unary: func(_ context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		got = r
		r.ResponseSize, r.Payload = 7, nil
		return answer, nil
	}}
	conn := inproc.New(nil, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) },
		inproc.Sharing(grpc_testing.TestService_UnaryCall_FullMethodName, "/none.Service/None"))
	sent := &grpc_testing.SimpleRequest{Payload: body("question")}
	received, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(t.Context(), sent)
	if err != nil {
		t.Fatal(err)
	}
	if sent.GetResponseSize() != 0 || string(sent.GetPayload().GetBody()) != "question" || got == sent {
		t.Errorf("the server's message is its caller's: %v", sent)
	}
	if received == answer || received.GetPayload() != answer.GetPayload() || received.GetUsername() != "server" {
		t.Errorf("the answer came as %v", received)
	}
	if err := conn.Invoke(t.Context(), grpc_testing.TestService_UnaryCall_FullMethodName, &grpc_testing.Payload{}, received); err == nil {
		t.Error("a message of another kind passed")
	}
}

func TestMetadataHeadersAndTrailers(t *testing.T) {
	client, _ := connect(t, &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if !slices.Equal(md.Get("x-in"), []string{"a", "b"}) || requestid.FromContext(ctx) != "mine" {
			return nil, errors.New("metadata lost")
		}
		return &grpc_testing.SimpleResponse{}, errors.Join(
			grpc.SetHeader(ctx, metadata.Pairs("x-head", "1")), grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "2")))
	}})
	ctx := requestid.NewContext(metadata.AppendToOutgoingContext(t.Context(), "x-in", "a", "x-in", "b"), "mine")
	var header, trailer metadata.MD
	seen := make(metadata.MD)
	heading := inproc.Heading(func(key string, values []string) { seen[key] = values })
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer), heading); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(seen, header) {
		t.Errorf("seen was %v of %v", seen, header)
	}
	if !slices.Equal(header.Get("x-head"), []string{"1"}) || !slices.Equal(header.Get(requestid.MetadataKey), []string{"mine"}) ||
		!slices.Equal(trailer.Get("x-tail"), []string{"2"}) {
		t.Fatalf("header %v, trailer %v", header, trailer)
	}
}

func TestErrorsLoseTheirCause(t *testing.T) {
	secret := errors.New("password")
	client, _ := connect(t, &service{
		unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			return nil, apierr.Wrap(apierr.Conflict, secret, "the etag does not match").WithField("etag")
		},
		output: func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error { panic("oops") },
	})
	_, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	e := apierr.From(err)
	if e.Reason != apierr.Conflict || e.Field != "etag" || e.RequestID() != "req-1" || errors.Is(err, secret) {
		t.Fatalf("%v", err)
	}
	stream, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if apierr.ReasonOf(err) != apierr.Internal {
		t.Fatalf("a panic: %v", err)
	}
}

func TestDeadlineAndCancellationReachTheServer(t *testing.T) {
	ended, entered := make(chan error, 64), make(chan struct{}, 64)
	client, _ := connect(t, &service{
		unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			entered <- struct{}{}
			_, ok := ctx.Deadline()
			if !ok {
				return nil, errors.New("no deadline")
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		},
		output: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			<-ss.Context().Done()
			ended <- ss.Context().Err()
			return ss.Context().Err()
		},
	})
	// On a machine that is busy a short deadline may pass before the call is there.
	for d := 20 * time.Millisecond; ; d *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("deadline: %v", err)
		}
		if len(entered) > 0 {
			break
		}
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the server saw %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Fatalf("cancel: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the server saw %v", err)
	}
}

func TestStreamsBothWays(t *testing.T) {
	client, _ := connect(t, &service{duplex: func(ss grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
		for {
			r, err := ss.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{Payload: r.GetPayload()}); err != nil {
				return err
			}
		}
	}})
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []string{"a", "b", "c"} {
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: body(b)}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil || string(got.GetPayload().GetBody()) != b {
			t.Fatalf("%v %v", got, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the end: %v", err)
	}
}

func TestUnknownMethods(t *testing.T) {
	_, conn := connect(t, &service{})
	for _, method := range []string{"", "/", "nothing", "/a.B/C", "/grpc.testing.TestService/Nope", "/grpc.testing.TestService/"} {
		err := conn.Invoke(t.Context(), method, &grpc_testing.SimpleRequest{}, &grpc_testing.SimpleResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%q: %v", method, err)
		}
		if _, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, method); status.Code(err) != codes.Unimplemented {
			t.Errorf("%q as a stream: %v", method, err)
		}
	}
}

// What a server is told that sends to a caller who has left, or whose time is
// over, is what the trail and the metrics say of the call.
func TestASendAfterTheEndSaysWhy(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	client, _ := connect(t, &service{output: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		began <- struct{}{}
		<-ss.Context().Done()
		err := ss.Send(&grpc_testing.StreamingOutputCallResponse{})
		ended <- err
		return err
	}})
	left, leave := context.WithCancel(t.Context())
	defer leave()
	late, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for reason, ctx := range map[apierr.Reason]context.Context{apierr.Cancelled: left, apierr.DeadlineExceeded: late} {
		stream, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-began
		if reason == apierr.Cancelled {
			leave()
		}
		_, err = stream.Recv()
		if apierr.ReasonOf(err) != reason {
			t.Errorf("the caller was told %v, want %s", err, reason)
		}
		if err := <-ended; apierr.ReasonOf(err) != reason {
			t.Errorf("the server was told %v, want %s", err, reason)
		}
	}
}
