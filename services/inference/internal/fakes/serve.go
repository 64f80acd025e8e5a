package fakes

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// Answer streams chunks and a finish, as an engine that does well.
func Answer(stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse], chunks ...string) error {
	if err := Accept(stream); err != nil {
		return err
	}
	for _, c := range chunks {
		if err := Chunk(stream, c); err != nil {
			return err
		}
	}
	return stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Finish{
		Finish: &workerv1.Finish{Usage: &commonv1.TokenUsage{CompletionTokens: int32(len(chunks))}},
	}})
}

// Accept sends the first event of a worker's stream.
func Accept(stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]) error {
	return stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Accepted{
		Accepted: &workerv1.Accepted{},
	}})
}

// Chunk sends one chunk.
func Chunk(stream grpc.ServerStreamingServer[workerv1.InvokeStreamResponse], text string) error {
	return stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Chunk{Chunk: []byte(text)}})
}

// Chain is what stands in front of a real worker: every error of the worker's
// own carries an ErrorInfo.
func Chain() grpcserver.Chain { return grpcserver.Chain{grpcserver.Errors()} }

// Served is a worker on a port of its own, which can be killed and started
// again at the same address.
type Served struct {
	*Worker

	addr string
	mu   sync.Mutex
	grpc *grpc.Server
	done chan struct{}
}

// Serve starts the worker on a free loopback port. It is killed at the end of
// the test.
func (w *Worker) Serve(tb testing.TB) *Served {
	tb.Helper()
	s := &Served{Worker: w, addr: "127.0.0.1:0"}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Addr is the worker's address.
func (s *Served) Addr() string { return s.addr }

// Start serves, at the address that it had before.
func (s *Served) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "listen")
	}
	s.addr = lis.Addr().String()
	server := grpc.NewServer(grpc.UnaryInterceptor(Chain().Unary()), grpc.StreamInterceptor(Chain().Stream()))
	workerv1.RegisterWorkerServiceServer(server, s.Worker)
	done := make(chan struct{})
	s.grpc, s.done = server, done
	go func() {
		defer close(done)
		_ = server.Serve(lis) // ends with Kill
	}()
	return nil
}

// Kill closes every connection at once, as the end of the process does.
func (s *Served) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc == nil {
		return
	}
	s.grpc.Stop()
	<-s.done
	s.grpc = nil
}
