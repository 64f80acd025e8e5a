package backend_test

import (
	"context"
	"net"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/telemetry"
)

func TestAnnounce(t *testing.T) {
	tel := telemetry.Discard()
	listening := func() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7000} }
	tests := []struct {
		name     string
		cfg      backend.Config
		id, want string
		addr     string
	}{
		{"by its address", backend.Config{}, "", "svc-127.0.0.1:7000", "127.0.0.1:7000"},
		{"advertised elsewhere", backend.Config{Advertise: "host:1"}, "", "svc-host:1", "host:1"},
		{"by an id of its own", backend.Config{}, "one", "svc-one", "127.0.0.1:7000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			known := discovery.NewMemory()
			ready := health.NewReadiness(clock.Real())
			c := tt.cfg.Announce(known, backend.Announcement{
				Service: "svc", ID: tt.id, Listening: listening, Readiness: ready, Telemetry: tel,
				Meta: func() map[string]string { return map[string]string{"zone": "a"} },
			})
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := known.Watch(ctx, "svc")
			set := <-seen
			if len(set) != 1 || set[0].ID != tt.want || set[0].Addr != tt.addr || set[0].Meta["zone"] != "a" || set[0].Meta["version"] != tel.Version {
				t.Fatalf("known: %+v", set)
			}
			if !ready.Ready() {
				t.Fatal("not ready before the end")
			}
			if err := c.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if ready.Ready() {
				t.Error("still ready at the end")
			}
			if set := <-seen; len(set) != 0 {
				t.Errorf("still known: %+v", set)
			}
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
