package callwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/callwire"
)

// script is what a handler does, made of chance: messages with or without what follows
// them, headers and trailers, and an end.
type script struct {
	steps []func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error
	end   error
}

func randomScript(r *rand.Rand) script {
	var s script
	for i := range r.IntN(12) {
		md := metadata.Pairs(fmt.Sprint("k", r.IntN(3)), fmt.Sprint(i), "x-bin", "\x00\xff")
		switch text, size := fmt.Sprint(i), []int{0, 10, 3000, 5000, 70 << 10}[r.IntN(5)]; r.IntN(7) {
		case 0:
			s.steps = append(s.steps, func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
				_ = to.SetHeader(md) // refused after the first message, on both ways
				return nil
			})
		case 1:
			s.steps = append(s.steps, func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
				_ = to.SendHeader(md)
				return nil
			})
		case 2:
			s.steps = append(s.steps, func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
				to.SetTrailer(md)
				return nil
			})
		case 3:
			s.steps = append(s.steps, func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
				_ = grpc.SetHeader(to.Context(), md)
				return grpc.SetTrailer(to.Context(), md)
			})
		default:
			more := r.IntN(2) == 0
			s.steps = append(s.steps, func(to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
				if more {
					callwire.More(to.Context())
				}
				return to.Send(part(text, size))
			})
		}
	}
	switch r.IntN(5) {
	case 0:
		st, _ := status.New(codes.FailedPrecondition, "not so").WithDetails(&errdetails.ErrorInfo{Reason: "R", Domain: "d"})
		s.end = st.Err()
	case 1:
		s.end = context.DeadlineExceeded
	case 2:
		s.end = errors.New("of no kind")
	}
	return s
}

// TestAStreamIsAnOrdinaryStream: what chance has a handler say is heard the same on both
// ways, and the connection is used again after it.
func TestAStreamIsAnOrdinaryStream(t *testing.T) {
	var now script
	s := &service{}
	s.stream = func(req *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		for _, step := range now.steps {
			if err := step(to); err != nil {
				return err
			}
		}
		return now.end
	}
	l := newLine(t, s, 1)
	if h := hear(l.open(t, t.Context()), ask()); h.err != nil { // there is a connection now
		t.Fatal(h.err)
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 300 {
		now = randomScript(r)
		ctx, cancel := context.WithCancel(t.Context())
		to, err := l.ordinary(ctx)()
		if err != nil {
			t.Fatal(err)
		}
		ordinary := hear(to, ask())
		var header, trailer metadata.MD
		opened := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Opts: []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}})
		if opened == nil {
			t.Fatalf("seed %d, %d: the connection was not used again", seed, i)
		}
		direct := hear(opened, ask())
		cancel()
		if !reflect.DeepEqual(direct.trailer, trailer) || !reflect.DeepEqual(direct.header, header) {
			t.Errorf("seed %d, %d: the options say %v, %v, and the stream %+v", seed, i, header, trailer, direct)
		}
		for _, h := range []*heard{&ordinary, &direct} {
			h.err = errors.New(fmt.Sprint(status.Convert(h.err).Proto()))
			h.header, h.trailer = maps.Clone(h.header), maps.Clone(h.trailer)
			delete(h.header, "content-type")
			delete(h.trailer, "content-type")
			delete(h.trailer, "grpc-status-details-bin") // they are in the status
			if len(h.trailer) == 0 {
				h.trailer = nil
			}
		}
		if !reflect.DeepEqual(ordinary, direct) { //nolint:govet // the errors were made of texts
			ordinary.bodies, direct.bodies = nil, nil
			t.Fatalf("seed %d, %d:\nordinary %v\ndirect   %v", seed, i, ordinary, direct)
		}
	}
}

func TestWhatAHandlerSeesOfAStream(t *testing.T) {
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		ctx := to.Context()
		md, _ := metadata.FromIncomingContext(ctx)
		name, _ := grpc.Method(ctx)
		stream, _ := grpc.MethodFromServerStream(to)
		end, ok := ctx.Deadline()
		p, _ := peer.FromContext(ctx)
		host, _, _ := net.SplitHostPort(p.Addr.String())
		return to.Send(part(fmt.Sprint(name, stream, ok && time.Until(end) > time.Minute, host, p.AuthInfo.AuthType(), md["x"], md["x-bin"], md["grpc-none"]), 0))
	}}
	l := newLine(t, s, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x", "1", "X", "2", "x-bin", "\x00\xff")
	direct := hear(l.open(t, ctx), ask())
	to, err := l.ordinary(ctx)()
	if err != nil {
		t.Fatal(err)
	}
	if ordinary := hear(to, ask()); direct.err != nil || !reflect.DeepEqual(direct.bodies, ordinary.bodies) {
		t.Errorf("\nordinary %v\ndirect   %v, %v", ordinary.bodies, direct.bodies, direct.err)
	}
}

func TestAHeaderComesBeforeMessages(t *testing.T) {
	release := make(chan struct{})
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		if err := to.SendHeader(metadata.Pairs("k", "v")); err != nil {
			return err
		}
		<-release
		return to.Send(part("x", 0))
	}}
	l := newLine(t, s, 1)
	to := l.open(t, t.Context())
	if err := to.SendMsg(ask()); err != nil {
		t.Fatal(err)
	}
	if md, err := to.Header(); err != nil || md.Get("k")[0] != "v" {
		t.Fatalf("%v, %v", md, err)
	}
	close(release)
	if err := to.RecvMsg(new(testpb.StreamingOutputCallResponse)); err != nil {
		t.Error(err)
	}
	if err := to.RecvMsg(new(testpb.StreamingOutputCallResponse)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	l := newLine(t, &service{stream: count}, 8)
	var wg sync.WaitGroup
	var direct int
	var mu sync.Mutex
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				to := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Ordinary: l.ordinary(ctx)})
				if to != nil {
					sizes := make([]int32, 1+(i*j)%40)
					for k := range sizes {
						sizes[k] = int32((i * j * k) % 9000)
					}
					if h := hear(to, ask(sizes...)); h.err != nil || len(h.bodies) != len(sizes) {
						t.Errorf("%d of %d: %v", len(h.bodies), len(sizes), h.err)
					}
					mu.Lock()
					direct++
					mu.Unlock()
				}
				cancel()
				<-time.After(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if direct < 100 {
		t.Errorf("%d were carried", direct)
	}
}

func TestStreamsThatDoNotGoThisWay(t *testing.T) {
	s := &service{stream: count}
	l := newLine(t, s, 2)
	l.open(t, t.Context())
	large := ask(10)
	large.Payload = &testpb.Payload{Body: make([]byte, callwire.MaxMessage)}
	for name, c := range map[string]struct {
		ctx context.Context
		req *testpb.StreamingOutputCallRequest
	}{
		"a large request": {t.Context(), large},
		"large metadata":  {metadata.AppendToOutgoingContext(t.Context(), "k", string(make([]byte, 5<<10))+"x", "l-bin", string(make([]byte, 12<<10))), ask(10)},
	} {
		if h := hear(l.open(t, c.ctx), c.req); name == "a large request" && (h.err != nil || len(h.bodies) != 1) {
			t.Errorf("%s: %v, %v", name, h.err, len(h.bodies))
		} else if name != "a large request" && h.err == nil {
			t.Errorf("%s: gRPC refuses it", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, to := range map[string]grpc.ClientStream{
		"an option that is not known": l.pool.Open(t.Context(), l.addr, callwire.Stream{Method: streamMethod, Opts: []grpc.CallOption{grpc.UseCompressor("gzip")}}),
		"a context that has ended":    l.pool.Open(ended, l.addr, callwire.Stream{Method: streamMethod}),
	} {
		if to != nil {
			t.Errorf("%s was carried", name)
		}
	}
	if h := hear(l.open(t, t.Context(), grpc.MaxCallRecvMsgSize(100)), ask(10, 200)); status.Code(h.err) != codes.ResourceExhausted || len(h.bodies) != 1 {
		t.Errorf("an answer above the client's bound: %d, %v", len(h.bodies), h.err)
	}
	if h := hear(l.open(t, t.Context()), ask(10, 2<<20)); status.Code(h.err) != codes.ResourceExhausted || len(h.bodies) != 1 {
		t.Errorf("an answer above the server's bound: %d, %v", len(h.bodies), h.err)
	}
	none := l.pool.Open(t.Context(), l.addr, callwire.Stream{Method: "/grpc.testing.TestService/Nothing"})
	for none == nil {
		<-time.After(time.Millisecond)
		none = l.pool.Open(t.Context(), l.addr, callwire.Stream{Method: "/grpc.testing.TestService/Nothing"})
	}
	if h := hear(none, ask()); status.Code(h.err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", h.err)
	}
}

// A server that knows calls of one answer alone is asked for streams in the ordinary way,
// and for the others as before.
func TestAServerWithoutStreams(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	old := grpc.NewServer() // which closes on every preface but its own
	go func() { _ = old.Serve(lis) }()
	defer old.Stop()
	p := pool(t, plain(), 2, streams)
	for range 100 {
		if p.Open(t.Context(), lis.Addr().String(), callwire.Stream{Method: streamMethod}) != nil {
			t.Fatal("a stream was carried")
		}
		<-time.After(time.Millisecond)
	}
}

// Where many streams are open, connections are made ahead: further ones find theirs.
func TestConnectionsAreMadeAhead(t *testing.T) {
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		if err := to.Send(part("x", 0)); err != nil {
			return err
		}
		<-to.Context().Done()
		return to.Context().Err()
	}}
	l := newLine(t, s, 100)
	for range 40 {
		begun(t, l.open(t, t.Context()))
	}
	for end := time.Now().Add(10 * time.Second); ; {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		for ; n < 20; n++ {
			to := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Ordinary: l.ordinary(ctx)})
			if to == nil {
				break
			}
			begun(t, to)
		}
		cancel() // which closes their connections
		if n == 20 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d found one", n)
		}
		<-time.After(10 * time.Millisecond)
	}
}
