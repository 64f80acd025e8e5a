package callwire_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/callwire"
)

// held is a service whose handler waits for its context or the test.
type held struct {
	service
	begun, release chan struct{}
	ended          chan error
}

func newHeld() *held {
	h := &held{begun: make(chan struct{}, 1), release: make(chan struct{}), ended: make(chan error, 1)}
	h.unary = func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if !req.GetFillUsername() {
			return echo(ctx, req)
		}
		h.begun <- struct{}{}
		select {
		case <-ctx.Done():
			h.ended <- context.Cause(ctx)
			return nil, ctx.Err()
		case <-h.release:
			return echo(ctx, req)
		}
	}
	return h
}

// hold makes a call that waits, and returns what becomes of it.
func hold(ctx context.Context, t *testing.T, p *callwire.Pool, addr string) <-chan error {
	t.Helper()
	if _, err := carried(t, p, addr, t.Context(), payload(1)); err != nil {
		t.Fatal(err)
	}
	out := make(chan error, 1)
	go func() {
		ok, err := p.Call(ctx, addr, method, &testpb.SimpleRequest{FillUsername: true}, new(testpb.SimpleResponse), nil)
		if !ok {
			err = status.Error(codes.Aborted, "it was not carried")
		}
		out <- err
	}()
	return out
}

func TestAnEndReachesTheHandler(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		want codes.Code
	}{
		"cancelled": {context.WithCancel, codes.Canceled},
		"a deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld()
			n := serve(t, &h.service, plain())
			p := pool(t, plain(), 2)
			ctx, cancel := c.end(t.Context())
			defer cancel()
			out := hold(ctx, t, p, n.addr)
			<-h.begun
			if c.want == codes.Canceled {
				<-time.After(20 * time.Millisecond) // it is watched by now
				cancel()
			}
			if err := <-out; status.Code(err) != c.want {
				t.Errorf("the caller: %v", err)
			}
			select {
			case <-h.ended: //nolint:errcheck // that it has ended is enough
			case <-time.After(5 * time.Second):
				t.Error("the handler was not told")
			}
			if _, err := carried(t, p, n.addr, t.Context(), payload(1)); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

// A call that was watched leaves its connection as it was.
func TestAfterALongCall(t *testing.T) {
	h := newHeld()
	n := serve(t, &h.service, plain())
	p := pool(t, plain(), 1)
	for range 3 {
		out := hold(t.Context(), t, p, n.addr)
		<-h.begun
		<-time.After(20 * time.Millisecond)
		h.release <- struct{}{}
		if err := <-out; err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Call(t.Context(), n.addr, method, payload(9000), new(testpb.SimpleResponse), nil); !ok || err != nil {
			t.Fatalf("the next call on the connection: %v, %v", ok, err)
		}
	}
}

func TestTheCallInHandEndsBeforeADrainDoes(t *testing.T) {
	h := newHeld()
	n := serve(t, &h.service, plain())
	p := pool(t, plain(), 2)
	out := hold(t.Context(), t, p, n.addr)
	<-h.begun
	drained := make(chan struct{})
	go func() { defer close(drained); n.direct.Drain() }()
	<-time.After(50 * time.Millisecond) // past the watch
	select {
	case <-drained:
		t.Fatal("the drain did not wait for the call")
	case err := <-out:
		t.Fatalf("the drain cut the call: %v", err)
	default:
	}
	close(h.release)
	if err := <-out; err != nil {
		t.Errorf("the call in hand: %v", err)
	}
	<-drained
	if ok, err := p.Call(t.Context(), n.addr, method, payload(1), new(testpb.SimpleResponse), nil); ok || err != nil {
		t.Errorf("a call after the drain was carried: %v", err)
	}
}

// Calls that are on their way while a server drains fail in no case: they are answered, or
// were not begun.
func TestNoCallIsLostToADrain(t *testing.T) {
	for range 10 {
		s := &service{unary: echo}
		n := serve(t, s, plain())
		p := pool(t, plain(), 8)
		if _, err := carried(t, p, n.addr, t.Context(), payload(1)); err != nil {
			t.Fatal(err)
		}
		answered := s.calls.Load()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 300 {
					ok, err := p.Call(t.Context(), n.addr, method, payload(1), new(testpb.SimpleResponse), nil)
					if err != nil {
						t.Errorf("a call was lost: %v", err)
					}
					if mu.Lock(); ok {
						answered++
					}
					mu.Unlock()
				}
			})
		}
		<-time.After(3 * time.Millisecond)
		n.direct.Drain()
		wg.Wait()
		if s.calls.Load() != answered {
			t.Errorf("%d calls were begun, %d were answered", s.calls.Load(), answered)
		}
	}
}

func TestAKilledServer(t *testing.T) {
	h := newHeld()
	n := serve(t, &h.service, plain())
	p := pool(t, plain(), 2)
	out := hold(t.Context(), t, p, n.addr)
	<-h.begun
	n.grpc.Stop()
	n.direct.Stop()
	if err := <-out; status.Code(err) != codes.Unavailable {
		t.Errorf("the call in hand: %v", err)
	}
	if err := <-h.ended; err == nil {
		t.Error("the handler was not told")
	}
	for range 20 {
		if ok, err := p.Call(t.Context(), n.addr, method, payload(1), new(testpb.SimpleResponse), nil); ok {
			t.Fatalf("a call went to a server that is away: %v", err)
		}
	}
}

// What is quiet for too long, or says what it may not, is closed; others go on.
func TestStrangersAreClosed(t *testing.T) {
	s := &service{unary: echo}
	n := serve(t, s, plain(), func(o *callwire.ServerOptions) { o.Idle, o.Receive = 300*time.Millisecond, 200*time.Millisecond })
	for name, said := range map[string]string{
		"another preface":   "\x00XYZ",
		"nothing more":      "\x00PC1",
		"half a frame":      "\x00PC1C\x00\x00",
		"another kind":      "\x00PC1A\x00\x00\x00\x00\x00\x00\x00\x00",
		"a frame too large": "\x00PC1C\xff\xff\xff\xff\x00\x00\x00\x00",
		"no head":           "\x00PC1C\x00\x00\x00\x01\x00\x00\x00\x00\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Write([]byte(said)); err != nil {
				t.Fatal(err)
			}
			heard, err := io.ReadAll(c)
			if err, ok := err.(net.Error); ok && err.Timeout() { //nolint:errorlint // net's own
				t.Errorf("it is still open after %q", heard)
			}
		})
	}
	t.Run("ordinary calls", func(t *testing.T) {
		t.Parallel()
		conn, err := grpc.NewClient(n.addr, grpc.WithTransportCredentials(plain()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 10 {
			if _, err := testpb.NewTestServiceClient(conn).UnaryCall(t.Context(), payload(1)); err != nil {
				t.Error(err)
			}
			<-time.After(50 * time.Millisecond)
		}
	})
}
