package grpcserver_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/testkit"
)

// Connections of package callwire that have carried calls and wait hold no buffer, at
// either end: it is the kernel's connection that both wait on.
func TestIdleDirectConnectionsHoldNoBuffer(t *testing.T) {
	const (
		connections = 100
		payload     = 16 << 10
		most        = 6 << 10 // with both ends; one buffer for reading alone is 8 KiB
	)
	var all sync.WaitGroup
	s := &service{unary: func(context.Context) error {
		all.Done()
		all.Wait() // so that each has a connection of its own
		return nil
	}}
	f := start(t, s, nil, grpcserver.WithDirect())
	pool := callwire.NewPool(callwire.PoolOptions{
		Credentials: insecure.NewCredentials(), PerAddress: connections, DialTimeout: 5 * time.Second,
		KeepaliveTime: 30 * time.Second, KeepaliveTimeout: 5 * time.Second, MaxRecvBytes: 1 << 20,
	})
	t.Cleanup(pool.Close)
	before := testkit.Heap()
	all.Add(connections)
	var calls sync.WaitGroup
	for range connections {
		calls.Go(func() {
			req := &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: make([]byte, payload)}}
			for t.Context().Err() == nil { // a call never waits for a connection
				resp := new(grpc_testing.SimpleResponse)
				carried, err := pool.Call(t.Context(), f.conn.Target(), grpc_testing.TestService_UnaryCall_FullMethodName, req, resp, nil)
				if err != nil || carried && len(resp.GetPayload().GetBody()) != payload {
					t.Errorf("a call: %d bytes, %v", len(resp.GetPayload().GetBody()), err)
				}
				if carried || err != nil {
					return
				}
				<-time.After(time.Millisecond)
			}
		})
	}
	calls.Wait()
	each := 0
	for range 100 { // a server's goroutine may be on its way to wait
		if each = (testkit.Heap() - before) / connections; each <= most {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	if t.Logf("an idle connection takes %d bytes at both ends", each); each > most {
		t.Errorf("an idle connection takes %d bytes, want at most %d", each, most)
	}
}
