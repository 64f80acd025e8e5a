package edge_test

import (
	"context"
	"testing"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge"
)

// serve runs the edge on ports of its own.
func serve(t testing.TB, change func(*edge.Config)) (g *gate, httpAddr, grpcAddr string) {
	t.Helper()
	g = build(t, func(c *edge.Config) {
		c.HTTP.Addr, c.GRPC.Addr = "127.0.0.1:0", "127.0.0.1:0"
		c.Security.Limits.RequestsPerMinute = 1_000_000
		if change != nil {
			change(c)
		}
	})
	ports, err := g.NewPorts()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	started := make(chan struct{})
	comps := append(g.Components(), ports.Components()...)
	comps = append(comps, lifecycle.Component{Name: "started", Start: func(context.Context) error { close(started); return nil }})
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the gate ended with %v", err)
		}
	})
	<-started
	g.url = "http://" + ports.HTTP.Addr().String()
	return g, ports.HTTP.Addr().String(), ports.GRPC.Addr().String()
}
