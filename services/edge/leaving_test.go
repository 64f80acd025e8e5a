package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// On the port itself, where one context has a call's time and its client's leaving, who
// leaves ends the work for them at once.
func TestWhoLeavesThePortEndsTheirCall(t *testing.T) {
	g, addr, _ := serve(t, nil)
	begun, ended := make(chan struct{}), make(chan error, 1)
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		close(begun)
		<-out.Context().Done()
		ended <- context.Cause(out.Context())
		return out.Context().Err()
	}
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(sayHi, "small", `, "stream": true`)
	_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", chatPath, g.key, len(body))
	_, _ = io.WriteString(c, body)
	soon := time.After(20 * time.Second)
	for range 2 {
		select {
		case <-begun:
			begun = nil
			_ = c.Close()
		case err := <-ended:
			if err == nil {
				t.Error("it ended without a reason")
			}
		case <-soon:
			t.Fatal("the call goes on")
		}
	}
}
