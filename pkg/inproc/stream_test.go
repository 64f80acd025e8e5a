package inproc_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// A server may use its message again at once, and gets no further ahead of a client
// that does not read than a few messages.
func TestAnswersAreCopiesAndBounded(t *testing.T) {
	const answers = 200
	var sent atomic.Int64
	full := make(chan struct{})
	client, _ := connect(t, &service{output: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		out := &grpc_testing.StreamingOutputCallResponse{Payload: body("0")}
		for i := range answers {
			out.Payload.Body = []byte{byte(i)}
			if i == 16 {
				close(full) // the next one has no room
			}
			if err := ss.Send(out); err != nil {
				return err
			}
			out.Payload.Body[0] = 'X'
			sent.Add(1)
		}
		return nil
	}})
	stream, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-full
	if n := sent.Load(); n != 16 {
		t.Errorf("%d answers were sent to a client that has read none", n)
	}
	for i := range answers {
		got, err := stream.Recv()
		if err != nil || len(got.GetPayload().GetBody()) != 1 || got.GetPayload().GetBody()[0] != byte(i) {
			t.Fatalf("answer %d: %v, %v", i, got, err)
		}
	}
	for range 2 {
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last answer: %v", err)
		}
	}
}

// What was said before a failure is received before it, and a client that leaves ends
// a server that waits for room.
func TestAnswersEndInOrder(t *testing.T) {
	ended := make(chan error, 1)
	client, _ := connect(t, &service{output: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		for range 3 {
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
		}
		return status.Error(codes.DataLoss, "gone")
	}})
	stream, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	for n := 0; err == nil; n++ {
		if _, err = stream.Recv(); err != nil && n != 3 {
			t.Errorf("failed after %d answers", n)
		}
	}
	if status.Code(err) == codes.OK || errors.Is(err, io.EOF) {
		t.Errorf("the failure is %v", err)
	}

	endless, _ := connect(t, &service{output: func(ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
		for {
			if err := ss.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				ended <- err
				return err
			}
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err = endless.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the server saw %v", err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("the client saw %v", err)
	}
}
