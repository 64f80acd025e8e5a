package callwire

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const pingCall = "/grpc.testing.TestService/EmptyCall"

// visited runs a server's end of a connection, whose calls go well or not, and returns the
// client's, and a channel that is closed with its end. It is for a bubble of synctest.
func visited(t *testing.T, refuse error) (client net.Conn, ended <-chan struct{}) {
	t.Helper()
	s := NewServer(ServerOptions{
		MaxConnections: 1, Idle: time.Hour, Receive: time.Minute, Send: time.Minute,
		MaxRecvBytes: 1 << 20, MaxSendBytes: 1 << 20, MaxHeadBytes: 32 << 10,
		Unary: func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if refuse != nil {
				return nil, refuse
			}
			return handler(ctx, req)
		},
	})
	s.methods[pingCall] = method{handler: func(_ any, ctx context.Context, dec func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
		in := new(testpb.Empty)
		if err := dec(in); err != nil {
			return nil, err
		}
		return chain(ctx, in, nil, func(context.Context, any) (any, error) { return in, nil })
	}}
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		newServerConn(s, server, nil, preface).run()
		_ = server.Close()
	}()
	t.Cleanup(func() { _ = client.Close(); s.end(); <-done })
	if _, err := io.ReadFull(client, make([]byte, len(preface))); err != nil {
		t.Fatal(err)
	}
	return client, done
}

func say(t *testing.T, to net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(to, what); err != nil {
		t.Fatal(err)
	}
}

// heard is the kind of the next frame, which is read.
func heard(t *testing.T, from net.Conn) byte {
	t.Helper()
	b := make([]byte, prefixBytes)
	if _, err := io.ReadFull(from, b); err != nil {
		t.Fatal(err)
	}
	p := prefixOf(b)
	if _, err := io.CopyN(io.Discard, from, int64(p.head+p.message)); err != nil {
		t.Fatal(err)
	}
	return p.kind
}

func aCall(t *testing.T) string {
	t.Helper()
	b, err := appendFrame(nil, kindCall, callHead{method: pingCall}.append, new(testpb.Empty))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPingsBetweenCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended := visited(t, nil)
		for range 3 { // one may have crossed the end of a stream
			say(t, c, ping+aCall(t))
			if kind := heard(t, c); kind != kindAnswer {
				t.Fatalf("a call behind a ping: %q", kind)
			}
		}
		say(t, c, ping+ping)
		if kind := heard(t, c); kind != kindBye {
			t.Errorf("two pings: %q", kind)
		}
		_ = c.Close()
		<-ended
	})
}

func TestAPingIsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended := visited(t, nil)
		began := time.Now()
		<-time.After(40 * time.Minute) // the bubble's
		say(t, c, ping)
		if kind := heard(t, c); kind != kindBye {
			t.Errorf("an idle connection: %q", kind)
		}
		if after := time.Since(began); after != time.Hour {
			t.Errorf("it was open for %v", after)
		}
		_ = c.Close()
		<-ended
	})
}

// Who has not been answered yet has less time, so that strangers cannot have a server
// hold much for long.
func TestTheFirstRequestHasLessTime(t *testing.T) {
	for name, c := range map[string]struct {
		calls  int
		refuse error
		want   time.Duration
	}{
		"nobody yet": {0, nil, firstRequest},
		"refused":    {1, status.Error(codes.Unauthenticated, "no"), firstRequest},
		"answered":   {1, nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, ended := visited(t, c.refuse)
				for range c.calls {
					say(t, conn, aCall(t))
					heard(t, conn)
				}
				began := time.Now()
				say(t, conn, aCall(t)[:len(aCall(t))-3])
				if kind := heard(t, conn); kind != kindBye {
					t.Errorf("half a frame: %q", kind)
				}
				if after := time.Since(began); after != c.want {
					t.Errorf("it had %v and not %v", after, c.want)
				}
				_ = conn.Close()
				<-ended
			})
		})
	}
}
