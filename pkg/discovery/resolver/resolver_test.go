package resolver_test

import (
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/resolver"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/telemetry"
)

func serve(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return lis.Addr().String()
}

func TestCallsFollowTheSource(t *testing.T) {
	a, b := serve(t), serve(t)
	source := discovery.NewMemory()
	set := func(addrs ...string) {
		var s []discovery.Instance
		for _, addr := range addrs {
			s = append(s, discovery.Instance{ID: addr, Service: "inference", Addr: addr, Meta: map[string]string{"v": "1"}})
		}
		source.Set("inference", s)
	}
	cfg := grpcclient.DefaultConfig()
	cfg.Breaker.Enabled = false // calls without an instance would open it
	conn, err := grpcclient.Dial(resolver.Target("inference"), cfg, telemetry.Discard(),
		grpcclient.WithResolvers(resolver.New(source, slog.New(slog.DiscardHandler))))
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_health_v1.NewHealthClient(conn)
	called := func() (string, error) {
		var p peer.Peer
		_, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
		if err != nil {
			return "", err
		}
		return p.Addr.String(), nil
	}
	if _, err := called(); status.Code(err) != codes.Unavailable {
		t.Fatalf("without an instance a call must fail at once as unavailable: %v", err)
	}
	// gRPC takes a new set in its own time; until then calls go where they did.
	until := func(want map[string]bool) {
		t.Helper()
		seen := map[string]bool{}
		for t.Context().Err() == nil && (len(seen) != len(want) || len(seen) == 0) {
			if addr, err := called(); err == nil && want[addr] {
				seen[addr] = true
			}
		}
	}
	set(a)
	until(map[string]bool{a: true})
	set(a, b)
	until(map[string]bool{a: true, b: true})
	set(b)
	for {
		if addr, err := called(); err == nil && addr == b {
			if addr, err = called(); err == nil && addr == b {
				break // twice in a row: round robin has only b
			}
		}
	}
	set()
	for {
		if _, err := called(); status.Code(err) == codes.Unavailable {
			break
		}
	}
	set(a)
	until(map[string]bool{a: true})
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	set(b) // after the close nobody is told
}

func TestTargetsThatAreRefused(t *testing.T) {
	for _, target := range []string{"poterne:///", "poterne:///a/b"} {
		conn, err := grpcclient.Dial(target, grpcclient.DefaultConfig(), telemetry.Discard(),
			grpcclient.WithResolvers(resolver.New(discovery.NewMemory(), slog.New(slog.DiscardHandler))))
		if err != nil {
			continue
		}
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		_ = conn.Close()
		if err == nil {
			t.Errorf("%s was taken", target)
		}
	}
}
