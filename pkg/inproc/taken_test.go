package inproc_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// taken makes a call whose answers take is given, and returns its last word.
func taken(ctx context.Context, client grpc_testing.TestServiceClient, take func(answer any) error, opts ...grpc.CallOption) error {
	stream, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{}, append(opts, inproc.Taking(take))...)
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func nothing(any) error { return nil }

func TestAnswersOfAStreamAreTaken(t *testing.T) {
	var got, seen []string
	text := func(answer any) string {
		m, _ := answer.(*grpc_testing.StreamingOutputCallResponse)
		return string(m.GetPayload().GetBody())
	}
	var id, said string
	client, _ := connect(t, &service{output: func(ss outputs) error {
		md, _ := metadata.FromIncomingContext(ss.Context())
		said, id = strings.Join(md.Get("x-in"), ","), requestid.FromContext(ss.Context())
		if ss.Context().Value(ctxKey{}) != nil {
			t.Error("the caller's values arrived")
		}
		err := errors.Join(ss.SetHeader(metadata.Pairs("x-head", "1")), say(ss, "a"), say(ss, "b"))
		if !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%v were taken when they were sent", got)
		}
		if ss.SetHeader(metadata.Pairs("late", "1")) == nil {
			t.Error("a header is set after it was sent")
		}
		ss.SetTrailer(metadata.Pairs("x-tail", "2"))
		return err
	}})
	ctx := requestid.NewContext(metadata.AppendToOutgoingContext(context.WithValue(t.Context(), ctxKey{}, 1), "x-in", "q"), "mine")
	var header, trailer metadata.MD
	opts := inproc.Watching([]grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer), inproc.Taking(func(answer any) error {
		got = append(got, text(answer))
		return nil
	})}, func(answer any) { seen = append(seen, text(answer)) })
	stream, err := client.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the last word is said again, and the call is not made again
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, seen) || said != "q" || id != "mine" {
		t.Errorf("took %v, saw %v, asked with %q for %q", got, seen, said, id)
	}
	if !slices.Equal(header.Get("x-head"), []string{"1"}) || !slices.Equal(trailer.Get("x-tail"), []string{"2"}) {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if err := stream.SendMsg(&grpc_testing.StreamingOutputCallRequest{}); err == nil {
		t.Error("a second request passed")
	}
	if plain := []grpc.CallOption{grpc.Header(&header)}; len(inproc.Watching(plain, nil)) != 1 || inproc.TakerOf(plain) != nil {
		t.Error("a call whose answers nobody takes is watched")
	}
}

// An error of who takes is theirs again, and their leaving to the server.
func TestWhoTakesMayEndTheCall(t *testing.T) {
	refused := errors.New("no more")
	var sent, after error
	client, _ := connect(t, &service{output: func(ss outputs) error {
		sent = say(ss, "a")
		<-ss.Context().Done()
		after = say(ss, "b")
		return errors.New("the server's own")
	}})
	n := 0
	err := taken(t.Context(), client, func(any) error { n++; return refused })
	if !errors.Is(err, refused) || n != 1 || !errors.Is(sent, context.Canceled) || !errors.Is(after, context.Canceled) {
		t.Errorf("%v after %d answers, the server saw %v and %v", err, n, sent, after)
	}
}

// A panic of who takes passes the server's steps by: it is not the server's fault.
func TestAPanicOfWhoTakesIsTheirs(t *testing.T) {
	client, _ := connect(t, &service{output: func(ss outputs) error { return say(ss, "a") }})
	defer func() {
		p, ok := recover().(*inproc.PanicError)
		if !ok || !errors.Is(p, io.ErrNoProgress) || !strings.Contains(p.Error(), "TestAPanicOfWhoTakesIsTheirs") {
			t.Errorf("it panics with %v", p)
		}
	}()
	err := taken(t.Context(), client, func(any) error { panic(io.ErrNoProgress) })
	t.Errorf("it returned %v", err)
}

func TestTakenCallsEndAsOthersDo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := func(out error) grpc_testing.TestServiceClient {
		client, _ := connect(t, &service{output: func(ss outputs) error {
			if out != nil {
				return out
			}
			if err := say(ss, "a"); err != nil {
				return err
			}
			cancel()
			<-ss.Context().Done()
			return ss.Context().Err()
		}})
		return client
	}
	if err := taken(ctx, end(nil), nothing); status.Code(err) != codes.Canceled {
		t.Errorf("the caller left: %v", err)
	}
	bounded, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	began := time.Now()
	if err := taken(bounded, end(nil), nothing); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("its time was over: %v", err)
	}
	long, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	if err := taken(long, headroom(t, long), nothing); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("after %v", took)
	}
	if err := taken(t.Context(), end(status.Error(codes.NotFound, "x")), nothing); status.Code(err) != codes.NotFound {
		t.Errorf("the server said no: %v", err)
	}
	client, conn := connect(t, &service{output: func(outputs) error { panic("oops") }})
	if err := taken(t.Context(), client, nothing); status.Code(err) != codes.Internal {
		t.Errorf("the server panicked: %v", err)
	}
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/x/Y", inproc.Taking(nothing))
	if err == nil {
		err = errors.Join(s.SendMsg(&grpc_testing.StreamingOutputCallRequest{}), s.RecvMsg(nil))
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("no method: %v", err)
	}
}

// headroom is a server that wants to be asked to answer before its caller's time is over.
func headroom(t *testing.T, caller context.Context) grpc_testing.TestServiceClient { //nolint:revive // the call's, and not this function's
	t.Helper()
	client, _ := connect(t, &service{output: func(ss outputs) error {
		own, _ := ss.Context().Deadline()
		if theirs, _ := caller.Deadline(); !own.Before(theirs) {
			return status.Errorf(codes.Internal, "by %v, and its caller by %v", own, theirs)
		}
		return nil
	}})
	return client
}

// On a connection whose calls are part of their callers' requests, the id and the trace
// are theirs, and other values are not.
func TestCallsOfTheSameRequest(t *testing.T) {
	tel := telemetry.Discard()
	observe, err := grpcserver.Telemetry(tel, clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	var id, brought string
	var span trace.SpanContext
	s := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		id, span, brought = requestid.FromContext(ctx), trace.SpanContextFromContext(ctx), baggage.FromContext(ctx).String()
		if ctx.Value(ctxKey{}) != nil {
			t.Error("the caller's values arrived")
		}
		return &grpc_testing.SimpleResponse{}, nil
	}}
	chain := grpcserver.Chain{grpcserver.Recover(tel.Logger), grpcserver.RequestID(ids.Sequence("new")), observe}
	member, err := baggage.NewMember("key", "value")
	if err != nil {
		t.Fatal(err)
	}
	carried, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx, own := tel.Tracer("test").Start(context.WithValue(requestid.NewContext(t.Context(), "mine"), ctxKey{}, 1), "test")
	defer own.End()
	ctx = baggage.ContextWithBaggage(ctx, carried)
	call := func(ctx context.Context, opts ...inproc.Option) {
		conn := inproc.New(chain, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) }, opts...)
		if _, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	call(ctx, inproc.SameRequest())
	if brought != "key=value" {
		t.Errorf("its baggage is %q", brought)
	}
	if id != "mine" || span.TraceID() != own.SpanContext().TraceID() || span.SpanID() != own.SpanContext().SpanID() {
		t.Errorf("the call is of %q, in %v of %v", id, span, own.SpanContext())
	}
	call(metadata.AppendToOutgoingContext(ctx, requestid.MetadataKey, "said"), inproc.SameRequest())
	if id != "said" {
		t.Errorf("what the metadata says is not heard: %q", id)
	}
	call(t.Context(), inproc.SameRequest())
	if id == "" || id == "mine" || !span.IsValid() {
		t.Errorf("a caller without a request: %q, %v", id, span)
	}
	call(ctx)
	if id == "mine" || span.TraceID() == own.SpanContext().TraceID() || brought != "" {
		t.Error("values pass on any connection")
	}
}
