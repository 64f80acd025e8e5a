package callwire_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/callwire"
)

// What has come is told of while it is not received; half a message has not come.
func TestArrivals(t *testing.T) {
	const message = "M\x00\x00\x00\x00\x00\x00\x00\x07\x0a\x05\x12\x03abc"
	rest := make(chan struct{})
	addr := raw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10)) // the request
		_, _ = io.WriteString(c, message+message+message[:11])
		<-rest
		_, _ = io.WriteString(c, message[11:])
	})
	p := pool(t, plain(), 1, streams)
	ctx, coming := callwire.WithArrivals(t.Context())
	if coming.More() {
		t.Error("of no stream")
	}
	to := dialled(t, p, addr, ctx, callwire.Stream{Method: streamMethod})
	begun(t, to)
	if !coming.More() {
		t.Error("the second message has come")
	}
	if err := next(to); err != nil {
		t.Fatal(err)
	}
	if coming.More() {
		t.Error("half a message has come")
	}
	close(rest)
	if err := next(to); err != nil {
		t.Fatal(err)
	}
	if err := next(to); err == nil || coming.More() {
		t.Errorf("after the end: %v", err)
	}
}

// What is said to be followed by another message leaves with it, and what is not at once.
func TestMoreLeavesTogether(t *testing.T) {
	step := make(chan struct{})
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		for _, more := range []bool{false, true, false, true} {
			if more {
				callwire.More(to.Context())
			}
			if err := to.Send(part("x", 0)); err != nil {
				return err
			}
			<-step
		}
		return nil
	}}
	l := newLine(t, s, 1)
	ctx, coming := callwire.WithArrivals(t.Context())
	to := begun(t, l.open(t, ctx)) // the first has come although the handler waits
	step <- struct{}{}
	step <- struct{}{} // the second waits for the third
	for i := range 2 {
		if err := next(to); err != nil {
			t.Fatal(err)
		}
		if got, want := coming.More(), i == 0; got != want {
			t.Errorf("%d: another has come with it: %v", i+1, got)
		}
	}
	step <- struct{}{}
	step <- struct{}{} // the fourth waits for the end
	if err := next(to); err != nil {
		t.Fatal(err)
	}
	if err := next(to); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
