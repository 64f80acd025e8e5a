//go:build real

package consul_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/consul"
	"github.com/poterne/poterne/pkg/testkit"
)

// until reads sets until one holds exactly the given ids, and fails the test
// when one on the way holds fewer than keep.
func until(t *testing.T, ch <-chan []discovery.Instance, keep int, want ...string) {
	t.Helper()
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		select {
		case set := <-ch:
			var ids []string
			for _, i := range set {
				ids = append(ids, i.ID)
			}
			if strings.Join(ids, " ") == strings.Join(want, " ") {
				return
			}
			if len(ids) < keep {
				t.Fatalf("saw %v on the way to %v", ids, want)
			}
		case <-timeout.C:
			t.Fatalf("never saw %v", want)
		}
	}
}

func TestRealConsul(t *testing.T) {
	server := testkit.Consul(t)
	cfg := consul.DefaultConfig()
	cfg.Addr, cfg.TTL, cfg.Grace, cfg.BackoffMax = server.Addr, 2*time.Second, 5*time.Second, time.Second
	open := func() *consul.Consul {
		c, err := consul.New(cfg, clock.Real(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := open(), open()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch := a.Watch(ctx, "inference")
	until(t, ch, 0)
	register := func(c *consul.Consul, id string) context.CancelFunc {
		keep, crash := context.WithCancel(ctx)
		err := c.Register(keep, discovery.Registration{Instance: discovery.Instance{
			ID: id, Service: "inference", Addr: "127.0.0.1:1" + id[1:], Meta: map[string]string{"version": "v1"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return crash
	}
	register(a, "i1")
	until(t, ch, 0, "i1")
	crash := register(b, "i2")
	until(t, ch, 1, "i1", "i2")

	// Consul is killed and comes back empty: nobody may vanish, and both
	// register again by themselves.
	server.Kill()
	server.Restart()
	fresh := open().Watch(ctx, "inference") // knows nothing of before
	until(t, fresh, 0, "i1", "i2")
	select {
	case set := <-ch:
		if len(set) != 2 {
			t.Fatalf("saw %v after the restart", set)
		}
	default:
	}

	crash() // i2 no longer reports, and is left out when its TTL is over
	until(t, fresh, 1, "i1")
	if err := a.Deregister(ctx, "inference", "i1"); err != nil {
		t.Fatal(err)
	}
	until(t, fresh, 0)
	if err := a.Ping(ctx); err != nil {
		t.Fatal(err)
	}
}
