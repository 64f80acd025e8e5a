package edge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/lifecycle"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
)

// serve opens the gate's ports and returns a connection to the gRPC one.
func (g *gate) serve() (*edge.Ports, *grpc.ClientConn) {
	g.t.Helper()
	ports, err := g.NewPorts()
	if err != nil {
		g.t.Fatal(err)
	}
	up := make(chan struct{})
	comps := append(ports.Components(), lifecycle.Component{Name: "test", Start: func(context.Context) error { close(up); return nil }})
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("the ports ended with %v", err)
		}
	})
	select {
	case <-up:
	case err := <-done:
		g.t.Fatal(err)
	}
	conn, err := grpc.NewClient(ports.GRPC.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return ports, conn
}

// TestTakenPort holds that a port which cannot be opened ends the process at
// once: the other one, opened before, has nothing to wait for.
func TestTakenPort(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for name, change := range map[string]func(*edge.Config){
		"http": func(c *edge.Config) { onFreePorts(c); c.HTTP.Addr = addr },
		"grpc": func(c *edge.Config) { onFreePorts(c); c.GRPC.Addr = addr },
	} {
		t.Run(name, func(t *testing.T) {
			ports, err := open(t, change).NewPorts()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = lifecycle.Run(t.Context(), lifecycle.Options{}, ports.Components()...)
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), name+" port: listen tcp "+addr) {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it ended after %v", took)
			}
		})
	}
}

func onFreePorts(c *edge.Config) {
	c.GRPC.Addr, c.HTTP.Addr = "127.0.0.1:0", "127.0.0.1:0"
}

func TestGRPCPort(t *testing.T) {
	g := open(t, onFreePorts)
	ports, conn := g.serve()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+g.key, "x-request-id", "r1")
	client := edgev1.NewOpenAIServiceClient(conn)
	ask := &edgev1.CreateChatCompletionRequest{Model: "small", Messages: []*edgev1.ChatMessage{{
		Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "Hi"}},
	}}}
	var header metadata.MD
	resp, err := client.CreateChatCompletion(ctx, ask, grpc.Header(&header))
	if err != nil || resp.GetChoices()[0].GetMessage().GetContent().GetText() != "Hello" {
		t.Fatalf("chat: %v, %v", resp, err)
	}
	if header.Get("x-poterne-model")[0] != "small@v3" || header.Get("x-request-id")[0] != "r1" || len(header.Get("ratelimit")) != 1 {
		t.Errorf("the header is %v", header)
	}
	stream, err := client.StreamChatCompletion(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	chunks := 0
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		chunks++
	}
	if chunks != 3 {
		t.Errorf("%d chunks", chunks)
	}
	// A client that fills the unknown members by hand must not write others.
	ask.Extra = map[string]string{"x": `1,"temperature":2`}
	if _, err := client.CreateChatCompletion(ctx, ask); status.Code(err) != codes.InvalidArgument {
		t.Errorf("injected JSON: %v", err)
	}
	if _, err := client.CreateChatCompletion(t.Context(), ask); apierr.ReasonOf(err) != apierr.Unauthenticated {
		t.Errorf("without a key: %v", err)
	}
	watch, err := registryv1.NewRegistryServiceClient(conn).Watch(ctx, &registryv1.WatchRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("the registry's Watch: %v", err)
	}
	if h, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v, %v", h, err)
	}
	listReflected(t, conn)
	getOver(t, "http://"+ports.HTTP.Addr().String()+"/")
}

func getOver(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %d", url, resp.StatusCode)
	}
}

func listReflected(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*reflectionv1.ServerReflectionRequest{
		{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "poterne.search.v1.SearchService"}},
	} {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil || resp.GetErrorResponse() != nil {
			t.Fatalf("reflection: %v, %v", resp, err)
		}
	}
}

// TestReady holds that the edge is ready exactly while a chat would be served.
func TestReady(t *testing.T) {
	turned := make(chan bool, 16)
	g := open(t, nil)
	g.Readiness().Subscribe(func(ready bool) { turned <- ready })
	await := func(want bool) {
		t.Helper()
		for got := range turned {
			if got == want {
				return
			}
		}
	}
	await(true)
	g.inference.setReady(false)
	await(false)
	if r := g.Readiness().Report(); r.Checks[0].Reason != "no chat model is ready" {
		t.Errorf("the report is %+v", r)
	}
	g.inference.setReady(true)
	await(true)
}
