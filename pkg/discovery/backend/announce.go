package backend

import (
	"context"
	"log/slog"
	"maps"
	"net"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// Announcement is what a process says of itself in discovery.
type Announcement struct {
	// Service is the service's name.
	Service string
	// ID tells the process from others of its service; empty takes its address.
	ID string
	// Listening is the address of its gRPC port. It is asked once the parts
	// before the announcement have started.
	Listening func() net.Addr
	// Meta is what others may want to know besides the version; it may be nil,
	// and is asked when Listening is.
	Meta func() map[string]string
	// Readiness is turned off when the process begins to end.
	Readiness *health.Readiness
	Telemetry *telemetry.Telemetry
}

// Announce makes the process known in r while it serves. Put the component
// last, so that it drains first: load balancers that ask for readiness and
// callers that look in discovery then turn away before the ports close.
func (c Config) Announce(r discovery.Registrar, a Announcement) lifecycle.Component {
	log := a.Telemetry.Logger
	inner := discovery.Component(r, func() discovery.Registration { return c.registration(a) },
		func(err error) { log.Warn("discovery cannot be reached", telemetry.Err(err)) })
	drain := inner.Drain
	inner.Drain = func(ctx context.Context) error {
		a.Readiness.Drain("the process is ending")
		log.InfoContext(ctx, "draining", slog.String("registration", c.registration(a).ID))
		return drain(ctx)
	}
	return inner
}

func (c Config) registration(a Announcement) discovery.Registration {
	addr := c.Advertise
	if addr == "" {
		addr = a.Listening().String()
	}
	id := a.ID
	if id == "" {
		id = addr
	}
	meta := map[string]string{"version": a.Telemetry.Version}
	if a.Meta != nil {
		maps.Copy(meta, a.Meta())
	}
	return discovery.Registration{Instance: discovery.Instance{
		ID: a.Service + "-" + id, Service: a.Service, Addr: addr, Meta: meta,
	}}
}
