package grpcserver_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
)

// A stream of requests that comes slower than it must is ended, one that comes
// steadily is not, however long it takes.
func TestSlowRequestsAreEnded(t *testing.T) {
	took := make(chan int, 1)
	f := start(t, &service{input: func(ss grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
		for n := 0; ; n++ {
			_, err := ss.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return ss.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(n)})
			case err != nil:
				if apierr.ReasonOf(err) != apierr.RequestTimeout {
					t.Errorf("the handler is told %v", err)
				}
				took <- n
				return err
			}
		}
	}}, func(cfg *grpcserver.Config) { cfg.ReceiveTimeout, cfg.MinReceiveRate = 400*time.Millisecond, 1024 })
	for _, c := range []struct {
		bytes, times int
		slow         bool
	}{{1, 200, true}, {0, 1, true}, {4096, 12, false}} {
		stream, err := f.client.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range c.times {
			msg := &grpc_testing.StreamingInputCallRequest{Payload: &grpc_testing.Payload{Body: make([]byte, c.bytes)}}
			if stream.Send(msg) != nil {
				break
			}
			<-time.After(60 * time.Millisecond)
		}
		if c.slow {
			err = stream.RecvMsg(new(grpc_testing.StreamingInputCallResponse))
			if n := <-took; err == nil || n > 50 {
				t.Errorf("%d bytes at a time: %v after %d", c.bytes, err, n)
			}
			continue
		}
		if resp, err := stream.CloseAndRecv(); err != nil || resp.GetAggregatedPayloadSize() != int32(c.times) {
			t.Errorf("%d bytes at a time: %v, %v", c.bytes, resp, err)
		}
	}
}
