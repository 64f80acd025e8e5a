package grpcclient_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/grpcclient"
)

// Streams whose answers are slow to begin take the places of the calls that try
// a backend which was away, but not for long.
func TestSlowStreamsDoNotHoldTheBreaker(t *testing.T) {
	var down atomic.Bool
	release, began := make(chan struct{}), make(chan struct{}, 100)
	b := &backend{
		unary: func(context.Context, int64) error {
			if down.Load() {
				return errAway
			}
			return nil
		},
		stream: func(_ int64, ss grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
			began <- struct{}{}
			select {
			case <-ss.Context().Done():
			case <-release:
			}
			return ss.Send(&grpc_testing.StreamingOutputCallResponse{})
		},
	}
	serve(t, b)
	cfg := grpcclient.DefaultConfig()
	cfg.Breaker.MinCalls, cfg.Breaker.OpenFor = 5, 50*time.Millisecond
	client := dial(t, cfg, []*backend{b})
	down.Store(true)
	for range 10 {
		_, _ = client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	}
	down.Store(false)
	<-time.After(2 * cfg.Breaker.OpenFor)
	for range cfg.Breaker.Probes {
		go func() {
			if s, err := client.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{}); err == nil {
				_, _ = s.Recv()
			}
		}()
	}
	defer close(release)
	for range cfg.Breaker.Probes {
		<-began
	}
	limit := time.Now().Add(5 * time.Second)
	for {
		if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatal("the backend is back, and nobody is let through while streams wait for their answer")
		}
		<-time.After(20 * time.Millisecond)
	}
}
