package grpcclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
)

const streamMethod = "/grpc.testing.TestService/StreamingOutputCall"

func (s *taker) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	if way := fmt.Sprintf("%T", grpc.ServerTransportStreamFromContext(to.Context())); strings.Contains(way, "callwire") {
		s.direct.Add(1)
	} else {
		s.ordinary.Add(1)
	}
	if s.stream != nil {
		return s.stream(to)
	}
	if s.fail.Load() {
		return status.Error(codes.Unavailable, "away")
	}
	return to.Send(new(testpb.StreamingOutputCallResponse))
}

// whole receives a stream to its end.
func whole(ctx context.Context, client testpb.TestServiceClient) error {
	to, err := client.StreamingOutputCall(ctx, new(testpb.StreamingOutputCallRequest))
	for err == nil {
		_, err = to.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Streams go to every backend; one that drains ends those in hand and gets no more, and none
// fails.
func TestDirectStreamsGoToEveryBackend(t *testing.T) {
	a, b := takes(t), takes(t)
	release := make(chan struct{})
	var held atomic.Bool
	a.stream = func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		if err := to.Send(new(testpb.StreamingOutputCallResponse)); err != nil || !held.CompareAndSwap(true, false) {
			return err
		}
		<-release
		return to.Send(new(testpb.StreamingOutputCallResponse))
	}
	client, conn := dialTakers(t, grpcclient.DefaultConfig(), a, b)
	call := func() error { return whole(t.Context(), client) }
	until(t, "both are called directly", func() bool { return a.direct.Load() > 10 && b.direct.Load() > 10 }, call)

	held.Store(true)
	inHand := make(chan error, 1)
	for held.Load() {
		go func() { inHand <- call() }()
		select {
		case err := <-inHand:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- a.component.Drain(t.Context()) }()
	<-time.After(50 * time.Millisecond)
	was := a.direct.Load() + a.ordinary.Load()
	for range 100 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	if now := a.direct.Load() + a.ordinary.Load(); now > was+1 {
		t.Errorf("%d streams after the drain began", now-was)
	}
	close(release)
	if err := <-inHand; err != nil {
		t.Errorf("the stream in hand: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "all connections are closed", func() bool { return b.open.Load() == 0 }, func() error { return nil })
}

// Above the bound streams go in the ordinary way, to all backends alike.
func TestFurtherStreamsAreOrdinary(t *testing.T) {
	a, b := takes(t), takes(t)
	release := make(chan struct{})
	defer close(release)
	var waits atomic.Bool
	for _, s := range []*taker{a, b} {
		s.stream = func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
			if err := to.Send(new(testpb.StreamingOutputCallResponse)); err != nil || !waits.Load() {
				return err
			}
			<-release
			return nil
		}
	}
	cfg := grpcclient.DefaultConfig()
	cfg.DirectStreams = 1
	client, _ := dialTakers(t, cfg, a, b)
	until(t, "both are called directly", func() bool { return a.direct.Load() > 0 && b.direct.Load() > 0 }, func() error { return whole(t.Context(), client) })
	waits.Store(true)
	open := func() {
		to, err := client.StreamingOutputCall(t.Context(), new(testpb.StreamingOutputCallRequest))
		if err == nil {
			_, err = to.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open()
	open()
	direct, atA, atB := a.direct.Load()+b.direct.Load(), a.ordinary.Load(), b.ordinary.Load()
	for range 20 {
		open()
	}
	if got := a.direct.Load() + b.direct.Load() - direct; got > 0 {
		t.Errorf("%d streams too many on connections of their own", got)
	}
	if a, b := a.ordinary.Load()-atA, b.ordinary.Load()-atB; a != 10 || b != 10 {
		t.Errorf("%d and %d ordinary streams", a, b)
	}
}

func TestNoDirectStreams(t *testing.T) {
	s := takes(t)
	cfg := grpcclient.DefaultConfig()
	cfg.DirectStreams = 0
	client, _ := dialTakers(t, cfg, s)
	for range 50 {
		if err := whole(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
	if s.direct.Load() != 0 || s.ordinary.Load() != 50 {
		t.Errorf("%d direct streams, %d ordinary ones", s.direct.Load(), s.ordinary.Load())
	}
}

// Failures of direct streams eject an address as those of ordinary ones do.
func TestDirectStreamsThatFailEject(t *testing.T) {
	sick, well := takes(t), takes(t)
	cfg := grpcclient.DefaultConfig()
	cfg.Outlier.BaseEjection, cfg.Outlier.MaxEjection, cfg.Breaker.Enabled = time.Hour, time.Hour, false
	client, _ := dialTakers(t, cfg, sick, well)
	call := func() error { return whole(t.Context(), client) }
	until(t, "both are called directly", func() bool { return sick.direct.Load() > 0 && well.direct.Load() > 0 }, call)
	sick.fail.Store(true)
	for range 4 * cfg.Outlier.ConsecutiveFailures {
		_ = call()
	}
	before := sick.direct.Load() + sick.ordinary.Load()
	for range 20 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	if sick.direct.Load()+sick.ordinary.Load() != before {
		t.Error("the address is called still")
	}
}

// The breaker opens for streams that do not get through, whichever way they go.
func TestDirectStreamsOpenTheBreaker(t *testing.T) {
	s := takes(t)
	cfg := grpcclient.DefaultConfig()
	cfg.Breaker.MinCalls, cfg.Breaker.OpenFor, cfg.Outlier.Enabled = 5, time.Hour, false
	client, _ := dialTakers(t, cfg, s)
	until(t, "it is called directly", func() bool { return s.direct.Load() > 0 }, func() error { return whole(t.Context(), client) })
	if err := s.component.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 30 {
		err = whole(t.Context(), client)
	}
	if e := apierr.From(err); !strings.Contains(e.Error(), "try again") || e.RetryAfter == 0 {
		t.Errorf("the breaker is closed: %v", err)
	}
}

// A client that takes nothing of a stream is cut off in send_timeout, one that pauses is not.
func TestDirectStreamsAreGuarded(t *testing.T) {
	s := takes(t, func(c *grpcserver.Config) {
		c.SendTimeout, c.ReceiveTimeout = 200*time.Millisecond, 100*time.Millisecond
	})
	client, _ := dialTakers(t, grpcclient.DefaultConfig(), s)
	until(t, "it is called directly", func() bool { return s.direct.Load() > 0 }, func() error { return whole(t.Context(), client) })
	ended := make(chan error, 1)
	s.stream = func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		<-time.After(400 * time.Millisecond) // the client waits meanwhile
		for {
			if err := to.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 64<<10)}}); err != nil {
				ended <- err
				return err
			}
		}
	}
	before := s.direct.Load()
	to, err := client.StreamingOutputCall(t.Context(), new(testpb.StreamingOutputCallRequest))
	if err == nil {
		_, err = to.Recv()
	}
	if err != nil || s.direct.Load() != before+1 {
		t.Fatalf("a direct stream that is slow to begin: %v", err)
	}
	select {
	case err := <-ended:
		if apierr.ReasonOf(err) != apierr.Cancelled || !strings.Contains(err.Error(), "did not take the answer") {
			t.Errorf("the send failed with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the handler still sends")
	}
}

// What is asked of calls within the process keeps none off the direct way.
func TestStreamsWhoseAnswersAreTakenGoDirectly(t *testing.T) {
	s := takes(t)
	client, _ := dialTakers(t, grpcclient.DefaultConfig(), s)
	taking := inproc.Taking(func(any) error {
		t.Error("an answer was taken that came from elsewhere")
		return nil
	})
	until(t, "it is called directly", func() bool { return s.direct.Load() > 0 }, func() error {
		to, err := client.StreamingOutputCall(t.Context(), new(testpb.StreamingOutputCallRequest), taking)
		for err == nil {
			_, err = to.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

func TestWaysAreCounted(t *testing.T) {
	tel, err := telemetry.New(t.Context(), "test", "v0", telemetry.DefaultConfig(""), telemetry.WithLogWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	s := takes(t)
	client, _ := dialWith(t, tel, grpcclient.DefaultConfig(), s)
	until(t, "it is called directly", func() bool { return s.direct.Load() > 2 }, func() error { return whole(t.Context(), client) })
	_, err = client.EmptyCall(t.Context(), new(testpb.Empty))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	telemetry.OpsHandler(tel, health.NewReadiness(clock.Real())).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for way, n := range map[string]int64{"direct": s.direct.Load(), "grpc": s.ordinary.Load() - 1} {
		want := fmt.Sprintf(`poterne_rpc_client_calls_total{method="grpc.testing.TestService/StreamingOutputCall",way=%q} %d`, way, n)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("lacks %s:\n%s", want, w.Body.String())
		}
	}
	if strings.Contains(w.Body.String(), "EmptyCall") {
		t.Error("a method that was not named is counted")
	}
}
