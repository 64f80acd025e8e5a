package backend_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/discovery/consul"
)

func TestOpen(t *testing.T) {
	cfg := backend.DefaultConfig()
	cfg.Static = map[string][]string{"inference": {"h:1"}}
	b, err := backend.Open(cfg, clock.Real(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if set := <-b.Watch(t.Context(), "inference"); len(set) != 1 || set[0].Addr != "h:1" {
		t.Fatalf("static: %v", set)
	}
	cfg.Kind = backend.KindConsul
	b, err = backend.Open(cfg, clock.Real(), slog.New(slog.DiscardHandler))
	if _, ok := b.(*consul.Consul); !ok || err != nil {
		t.Fatalf("consul: %T, %v", b, err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		cfg  backend.Config
		want string
	}{
		{backend.DefaultConfig(), ""},
		{backend.Config{Kind: "dns"}, "discovery.kind: must be static or consul"},
		{backend.Config{Kind: backend.KindStatic, Static: map[string][]string{"poterne-search": {"nine"}}}, "discovery.static.poterne-search: must hold host:port"},
		{backend.Config{Kind: backend.KindStatic, Static: map[string][]string{"search": {"h:1"}}}, "discovery.static.search: is not a service; the services are poterne-edge, poterne-inference, poterne-registry, poterne-search, poterne-worker"},
		{backend.Config{Kind: backend.KindStatic, Static: map[string][]string{
			"poterne-edge": {"h:1"}, "poterne-inference": {"h:2", "h:3"}, "poterne-registry": {"h:4"}, "poterne-search": nil, "poterne-worker": {"h:5"},
		}}, ""},
		{backend.Config{Kind: backend.KindConsul}, "discovery.consul.addr"},
		{backend.Config{Kind: backend.KindStatic, Advertise: "nine"}, "discovery.advertise"},
	} {
		var p config.Problems
		c.cfg.Validate(&p, "discovery")
		err := p.Err()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}
