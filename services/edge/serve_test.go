package edge_test

import (
	"context"
	"testing"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/edge"
)

// serve runs the edge on ports of its own.
func serve(tb testing.TB, change func(*edge.Config)) (g *gate, httpAddr, grpcAddr string) {
	tb.Helper()
	g = build(tb, func(c *edge.Config) {
		c.HTTP.Addr, c.GRPC.Addr = "127.0.0.1:0", "127.0.0.1:0"
		c.Security.Limits.RequestsPerMinute = 1_000_000
		if change != nil {
			change(c)
		}
	})
	ports, err := g.NewPorts()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	started := make(chan struct{})
	comps := append(g.Components(), ports.Components()...)
	comps = append(comps, lifecycle.Component{Name: "started", Start: func(context.Context) error { close(started); return nil }})
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the gate ended with %v", err)
		}
	})
	<-started
	g.url = "http://" + ports.HTTP.Addr().String()
	return g, ports.HTTP.Addr().String(), ports.GRPC.Addr().String()
}
