package callwire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/callwire"
)

// waiting is a service that sends a message and waits for its context or the test.
type waiting struct {
	service
	release chan struct{}
	ended   chan error
}

func newWaiting() *waiting {
	w := &waiting{release: make(chan struct{}), ended: make(chan error, 10)}
	w.stream = func(req *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		if len(req.GetResponseParameters()) > 0 {
			return count(req, to)
		}
		if err := to.Send(part("first", 0)); err != nil {
			return err
		}
		select {
		case <-to.Context().Done():
			w.ended <- context.Cause(to.Context())
			return to.Context().Err()
		case <-w.release:
			return to.Send(part("last", 0))
		}
	}
	return w
}

// begun opens a stream and receives its first message.
func begun(t *testing.T, to grpc.ClientStream) grpc.ClientStream {
	t.Helper()
	if err := to.SendMsg(ask()); err != nil {
		t.Fatal(err)
	}
	if err := to.RecvMsg(new(testpb.StreamingOutputCallResponse)); err != nil {
		t.Fatal(err)
	}
	return to
}

func next(to grpc.ClientStream) error { return to.RecvMsg(new(testpb.StreamingOutputCallResponse)) }

func TestAnEndReachesTheHandlerOfAStream(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(context.Context) (context.Context, context.CancelFunc)
		reads bool
		want  codes.Code
	}{
		"cancelled":                             {context.WithCancel, true, codes.Canceled},
		"cancelled, and nobody receives":        {context.WithCancel, false, codes.Canceled},
		"a deadline":                            {short, true, codes.DeadlineExceeded},
		"a deadline, and nobody receives of it": {short, false, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWaiting()
			l := newLine(t, &w.service, 2)
			hear(l.open(t, t.Context()), ask(1)) // there is a connection now
			ctx, cancel := c.end(t.Context())
			defer cancel()
			to := begun(t, l.open(t, ctx))
			if c.want == codes.Canceled {
				time.AfterFunc(20*time.Millisecond, cancel)
			}
			if c.reads {
				if err := next(to); status.Code(err) != c.want {
					t.Errorf("the caller: %v", err)
				}
			}
			select {
			case <-w.ended: //nolint:errcheck // that it has ended is enough
			case <-time.After(5 * time.Second):
				t.Error("the handler was not told")
			}
			if err := next(to); status.Code(err) != c.want {
				t.Errorf("the caller, afterwards: %v", err)
			}
			if h := hear(l.open(t, t.Context()), ask(1, 2)); h.err != nil || len(h.bodies) != 2 {
				t.Errorf("the next stream: %v", h)
			}
		})
	}
}

func short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 50*time.Millisecond)
}

// Who leaves after the last message, without a look at the end that came with it, leaves a
// connection that is used again.
func TestTheEndIsTakenWithTheLastMessage(t *testing.T) {
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		callwire.More(to.Context())
		return to.Send(part("x", 0))
	}}
	l := newLine(t, s, 1)
	hear(l.open(t, t.Context()), ask())
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		to := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod})
		if to == nil {
			t.Fatalf("%d: the connection was not used again", i)
		}
		begun(t, to)
		cancel()
		if err := next(to); !errors.Is(err, io.EOF) {
			t.Fatalf("the end: %v", err)
		}
	}
}

func TestAKilledServerOfAStream(t *testing.T) {
	w := newWaiting()
	l := newLine(t, &w.service, 2)
	to := begun(t, l.open(t, t.Context()))
	l.grpc.Stop()
	l.direct.Stop()
	if err := next(to); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream in hand: %v", err)
	}
	if err := <-w.ended; err == nil {
		t.Error("the handler was not told")
	}
}

// What a server says after the preface, and what its client makes of it.
func TestServersThatBreakOff(t *testing.T) {
	const message = "M\x00\x00\x00\x00\x00\x00\x00\x07\x0a\x05\x12\x03abc"
	for name, c := range map[string]struct {
		says string
		got  int
		want codes.Code
	}{
		"nothing":                    {"", 0, codes.Unavailable},
		"a bye after a message":      {message + "B\x00\x00\x00\x00\x00\x00\x00\x00", 1, codes.Unavailable},
		"half a prefix":              {message + "M\x00", 1, codes.Unavailable},
		"half a message":             {message + message[:11], 1, codes.Unavailable},
		"half a status":              {message + "A\x00\x00\x00\x03\x00\x00\x00\x00\x00", 1, codes.Unavailable},
		"a status that is none":      {"A\x00\x00\x00\x03\x00\x00\x00\x00\xff\xff\xff", 0, codes.Unavailable},
		"a message that is none":     {"M\x00\x00\x00\x00\x00\x00\x00\x02\xff\xff", 0, codes.Internal},
		"a message with a head":      {"M\x00\x00\x00\x01\x00\x00\x00\x00\x00", 0, codes.Unavailable},
		"another kind":               {"C\x00\x00\x00\x00\x00\x00\x00\x00", 0, codes.Unavailable},
		"a head too large":           {"H\xff\xff\xff\xff\x00\x00\x00\x00", 0, codes.Unavailable},
		"a message too large":        {"M\x00\x00\x00\x00\xff\xff\xff\xff", 0, codes.ResourceExhausted},
		"pings, and a good end":      {pinged + message + pinged + "A\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00", 1, codes.OK},
		"a ping with something more": {"P\x00\x00\x00\x01\x00\x00\x00\x00\x00", 0, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pool(t, plain(), 1, streams)
			addr := saying(t, c.says)
			var told error
			to := dialled(t, p, addr, t.Context(), callwire.Stream{Method: streamMethod, Done: func(err error) { told = err }})
			if h := hear(to, ask()); len(h.bodies) != c.got || status.Code(h.err) != c.want || status.Code(told) != c.want {
				t.Errorf("%d messages, %v; told of %v", len(h.bodies), h.err, told)
			}
		})
	}
}

const pinged = "P\x00\x00\x00\x00\x00\x00\x00\x00"

// saying is a server that takes streams, says something to each, and closes.
func saying(t *testing.T, what string) (addr string) {
	t.Helper()
	return raw(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10)) // the request
		_, _ = io.WriteString(c, what)
	})
}

// raw is a server that takes streams, on connections as they are.
func raw(t *testing.T, use func(net.Conn)) (addr string) {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = lis.Close() })
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 4))
				_, _ = io.WriteString(c, "\x00PC2")
				use(c)
			})
		}
	})
	return lis.Addr().String()
}

func dialled(t *testing.T, p *callwire.Pool, addr string, ctx context.Context, s callwire.Stream) grpc.ClientStream { //nolint:revive // t comes first
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if to := p.Open(ctx, addr, s); to != nil {
			return to
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatal("no stream was carried")
	return nil
}

// A server that is there and has nothing to say is told from one that is not there.
func TestSilence(t *testing.T) {
	quick := func(o *callwire.PoolOptions) {
		o.KeepaliveTime, o.KeepaliveTimeout = 50*time.Millisecond, 2*time.Second
	}
	w := newWaiting()
	l := lineTo(t, serve(t, &w.service, plain(), func(o *callwire.ServerOptions) { o.MinPing = time.Millisecond }), 1, quick)
	to := begun(t, l.open(t, t.Context()))
	time.AfterFunc(400*time.Millisecond, func() { w.release <- struct{}{} })
	if err := next(to); err != nil {
		t.Errorf("a server that is there: %v", err)
	}
	if err := next(to); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
	if h := hear(l.open(t, t.Context()), ask(1, 2)); h.err != nil {
		t.Errorf("the next stream: %v", h.err)
	}

	asked := make(chan string, 1)
	frozen := raw(t, func(c net.Conn) {
		heard, _ := io.ReadAll(c) // until it is closed
		asked <- string(heard)
	})
	p := pool(t, plain(), 1, streams, func(o *callwire.PoolOptions) {
		o.KeepaliveTime, o.KeepaliveTimeout = 50*time.Millisecond, 100*time.Millisecond
	})
	if h := hear(dialled(t, p, frozen, t.Context(), callwire.Stream{Method: streamMethod}), ask()); status.Code(h.err) != codes.Unavailable {
		t.Errorf("a server that is frozen: %v", h.err)
	}
	if got := <-asked; !bytes.HasSuffix([]byte(got), []byte(pinged)) {
		t.Errorf("it was not asked: %q", got)
	}
}

// A client that asks all the time is disconnected.
func TestTooManyPings(t *testing.T) {
	w := newWaiting()
	n := serve(t, &w.service, plain(), func(o *callwire.ServerOptions) { o.MinPing = time.Minute })
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	head := append([]byte{byte(len(streamMethod))}, streamMethod...)
	head = append(head, 0, 0)
	frame := append([]byte{'S', 0, 0, 0, byte(len(head)), 0, 0, 0, 0}, head...)
	if _, err := c.Write(append([]byte("\x00PC2"), frame...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, pinged+pinged); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.ended: //nolint:errcheck // that it has ended is enough
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, net.ErrClosed) {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Error("the connection is open")
		}
	}
}

func TestStreamsInHandEndBeforeADrainDoes(t *testing.T) {
	w := newWaiting()
	l := newLine(t, &w.service, 2)
	to := begun(t, l.open(t, t.Context()))
	<-time.After(20 * time.Millisecond) // it is watched by now
	drained := make(chan struct{})
	go func() { defer close(drained); l.direct.Drain() }()
	<-time.After(30 * time.Millisecond)
	select {
	case <-drained:
		t.Fatal("the drain did not wait for the stream")
	default:
	}
	close(w.release)
	if err := next(to); err != nil {
		t.Errorf("the stream in hand: %v", err)
	}
	if err := next(to); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
	<-drained
	if l.pool.Open(t.Context(), l.addr, callwire.Stream{Method: streamMethod}) != nil {
		t.Error("a stream after the drain was carried")
	}
}

// Streams that are on their way while a server drains fail in no case: they are answered,
// or were not begun and are made in the ordinary way.
func TestNoStreamIsLostToADrain(t *testing.T) {
	for range 10 {
		s := &service{stream: count}
		l := newLine(t, s, 8)
		hear(l.open(t, t.Context()), ask(1))
		var wg sync.WaitGroup
		var made, answered, elsewhere atomic.Int64
		for range 8 {
			wg.Go(func() {
				for range 200 {
					ctx, cancel := context.WithCancel(t.Context())
					to := l.pool.Open(ctx, l.addr, callwire.Stream{Method: streamMethod, Ordinary: func() (grpc.ClientStream, error) {
						elsewhere.Add(1)
						return l.ordinary(ctx)()
					}})
					if to != nil {
						made.Add(1)
						if h := hear(to, ask(1, 2)); h.err != nil || len(h.bodies) != 2 {
							t.Errorf("a stream was lost: %v", h.err)
						}
						answered.Add(1)
					}
					cancel()
				}
			})
		}
		<-time.After(3 * time.Millisecond)
		l.direct.Drain()
		wg.Wait()
		if s.streams.Load() != answered.Load()+1 {
			t.Errorf("%d streams were begun, %d were answered, %d elsewhere", s.streams.Load(), answered.Load(), elsewhere.Load())
		}
	}
}

// A client that takes nothing holds its handler up until the context ends, and no longer.
func TestAClientThatTakesNothing(t *testing.T) {
	sent := make(chan error, 1)
	s := &service{stream: func(_ *testpb.StreamingOutputCallRequest, to grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		for {
			if err := to.Send(part("x", 200<<10)); err != nil {
				sent <- err
				return err
			}
		}
	}}
	n := serve(t, s, plain(), func(o *callwire.ServerOptions) {
		o.Guard = func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx
		}
	})
	l := lineTo(t, n, 1)
	to := begun(t, l.open(t, t.Context()))
	select {
	case err := <-sent:
		if status.Code(err) != codes.Canceled {
			t.Errorf("the handler: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler is held up")
	}
	var err error
	for err == nil {
		err = next(to)
	}
	if status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled {
		t.Errorf("the client: %v", err)
	}
}
