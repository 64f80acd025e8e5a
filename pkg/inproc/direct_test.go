package inproc_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

// taker notes what it is given.
type taker struct {
	got     []string
	header  metadata.MD
	flushes []int // how many answers were there
	refuse  error
	held    bool
}

func (k *taker) Take(d *inproc.Direct, answer any) error {
	m, _ := answer.(*grpc_testing.StreamingOutputCallResponse)
	if len(k.got) == 0 {
		k.header = d.TakeHeader()
	}
	k.got = append(k.got, string(m.GetPayload().GetBody()))
	if k.held = d.Held(); !k.held {
		return errors.Join(k.refuse, k.Flush())
	}
	return k.refuse
}

func (k *taker) Flush() error {
	k.flushes = append(k.flushes, len(k.got))
	return k.refuse
}

const outputMethod = "/grpc.testing.TestService/StreamingOutputCall"

func push(ctx context.Context, s *service, to inproc.Taker) (metadata.MD, error) {
	chain := grpcserver.Chain{
		grpcserver.Recover(telemetry.Discard().Logger), grpcserver.RequestID(ids.Sequence("req")), grpcserver.Errors(),
	}
	conn := inproc.New(chain, func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, s) })
	md, _ := metadata.FromOutgoingContext(ctx)
	return inproc.Push(ctx, conn, outputMethod, md, &grpc_testing.StreamingOutputCallRequest{}, to)
}

type outputs = grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]

func say(ss outputs, text string) error {
	return ss.Send(&grpc_testing.StreamingOutputCallResponse{Payload: body(text)})
}

func TestAnswersAreTakenWhereTheyAreSent(t *testing.T) {
	k := new(taker)
	ctx := metadata.AppendToOutgoingContext(context.WithValue(t.Context(), ctxKey{}, 1), "x-in", "a")
	header, err := push(ctx, &service{output: func(ss outputs) error {
		md, _ := metadata.FromIncomingContext(ss.Context())
		if ss.Context().Value(ctxKey{}) != nil || !slices.Equal(md.Get("x-in"), []string{"a"}) {
			return errors.New("the context is not that of a call")
		}
		d := inproc.DirectFrom(ss.Context())
		err := errors.Join(ss.SetHeader(metadata.Pairs("x-head", "1")), say(ss, "a"))
		d.Hold()
		err = errors.Join(err, say(ss, "b"), say(ss, "c"), d.Release(), d.Release(), say(ss, "d"))
		if len(k.got) != 4 {
			t.Error("an answer was not taken when it was sent")
		}
		if ss.SetHeader(metadata.Pairs("late", "1")) == nil {
			t.Error("a header is set after it was read")
		}
		return err
	}}, k)
	if err != nil || !slices.Equal(k.got, []string{"a", "b", "c", "d"}) || !slices.Equal(k.flushes, []int{1, 3, 4}) {
		t.Fatalf("%v, flushed after %v: %v", k.got, k.flushes, err)
	}
	if header != nil {
		t.Errorf("a header that was taken is kept: %v", header)
	}
	none, err := push(t.Context(), &service{output: func(ss outputs) error { return ss.SetHeader(metadata.Pairs("x-head", "1")) }}, new(taker))
	if err != nil {
		t.Error(err)
	}
	for _, md := range []metadata.MD{k.header, none} {
		if !slices.Equal(md.Get("x-head"), []string{"1"}) || len(md.Get(requestid.MetadataKey)) != 1 {
			t.Errorf("header %v", md)
		}
	}
	if inproc.DirectFrom(t.Context()) != nil || inproc.DirectFrom(t.Context()).Release() != nil {
		t.Error("there is a call without one")
	}
}

func TestATakerThatFailsEndsTheCall(t *testing.T) {
	for _, hold := range []bool{false, true} {
		var sent, after error
		_, err := push(t.Context(), &service{output: func(ss outputs) error {
			d := inproc.DirectFrom(ss.Context())
			if hold {
				d.Hold()
			}
			sent = say(ss, "a")
			if hold {
				sent = d.Release()
			}
			<-ss.Context().Done()
			after = say(ss, "b")
			return sent
		}}, &taker{refuse: io.ErrClosedPipe})
		if !errors.Is(sent, context.Canceled) || !errors.Is(after, context.Canceled) || status.Code(err) != codes.Canceled {
			t.Errorf("the server saw %v and %v, the caller %v", sent, after, err)
		}
	}
}

func TestPushedCallsEndAsOthersDo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := push(ctx, &service{output: func(ss outputs) error {
		derived, stop := context.WithCancel(ss.Context())
		defer stop()
		cancel()
		<-derived.Done()
		return nil
	}}, new(taker))
	if status.Code(err) != codes.Canceled {
		t.Errorf("the caller left: %v", err)
	}
	_, err = push(t.Context(), &service{output: func(outputs) error { panic("oops") }}, new(taker))
	if apierr.ReasonOf(err) != apierr.Internal {
		t.Errorf("a panic: %v", err)
	}
	if _, err = push(t.Context(), &service{output: func(outputs) error { return io.EOF }}, new(taker)); err == nil {
		t.Error("an error is none")
	}
	conn := inproc.New(nil, func(grpc.ServiceRegistrar) {})
	if _, err = inproc.Push(t.Context(), conn, "/x/Y", nil, nil, nil); apierr.ReasonOf(err) != apierr.Unimplemented {
		t.Errorf("no method: %v", err)
	}
}
