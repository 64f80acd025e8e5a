package callwire_test

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/callwire"
)

// BenchmarkStream is a stream of 64 messages, ten at once, on both ways, with the processor
// time of client and server together: messages that follow each other without a pause, where
// gRPC's writer has time to put several into one write, and such as a model makes.
func BenchmarkStream(b *testing.B) {
	b.Run("at once", func(b *testing.B) { benchmarkStream(b, 0) })
	b.Run("a pause between", func(b *testing.B) { benchmarkStream(b, 2*time.Millisecond) })
}

func benchmarkStream(b *testing.B, pause time.Duration) {
	b.Helper()
	const messages = 64
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		m := part("x", 250)
		for range messages {
			if err := to.Send(m); err != nil {
				return err
			}
			if pause > 0 {
				<-time.After(pause)
			} else {
				runtime.Gosched() // an engine's next message is waited for
			}
		}
		return nil
	}}
	l := newLine(b, s, 100)
	warm := make([]grpc.ClientStream, 16)
	for i := range warm {
		warm[i] = l.open(b, b.Context())
	}
	for _, to := range warm {
		hear(to, ask())
	}
	for name, open := range map[string]func(context.Context) (grpc.ClientStream, error){
		"grpc": func(ctx context.Context) (grpc.ClientStream, error) { return l.ordinary(ctx)() },
		"direct": func(ctx context.Context) (grpc.ClientStream, error) {
			if to := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Ordinary: l.ordinary(ctx)}); to != nil {
				return to, nil
			}
			return l.ordinary(ctx)()
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(5)
			before := processorTime()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
					to, err := open(ctx)
					if err == nil {
						if h := hear(to, ask()); h.err != nil || len(h.bodies) != messages {
							err = h.err
							b.Errorf("%d messages", len(h.bodies))
						}
					}
					cancel()
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
