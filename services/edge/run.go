package edge

import (
	"context"
	"errors"
	"log/slog"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/footprint"
)

// Components is the edge's background work, in the order of starting. It
// listens nowhere.
func (s *Service) Components() []lifecycle.Component {
	comps := []lifecycle.Component{{
		Name: "edge: connections", Stop: func(context.Context) error { return s.close() },
	}}
	comps = append(comps, s.security.Components()...)
	return append(comps, s.readyComponent())
}

// Run serves until ctx ends: the background work, the HTTP, gRPC and ops ports,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	ports, err := s.NewPorts()
	if err != nil {
		return errors.Join(err, s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, s.Components()...)
	comps = append(comps, ports.Components()...)
	comps = append(comps, s.registration(ports), footprint.Component(s.opts.clock))
	return lifecycle.Run(ctx, lifecycle.Options{Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout}, comps...)
}

// registration makes the edge known, and is the first part to drain: it turns
// the edge not ready, for load balancers that ask, before the ports close.
func (s *Service) registration(ports *Ports) lifecycle.Component {
	inner := discovery.Component(s.discovery, func() discovery.Registration {
		addr := s.cfg.Discovery.Advertise
		if addr == "" {
			addr = ports.GRPC.Addr().String()
		}
		return discovery.Registration{Instance: discovery.Instance{
			ID: ServiceName + "-" + addr, Service: ServiceName, Addr: addr,
			Meta: map[string]string{"version": s.opts.telemetry.Version, "http": ports.HTTP.Addr().String()},
		}}
	}, func(err error) {
		s.opts.telemetry.Logger.Warn("discovery cannot be reached", slog.Any("error", err))
	})
	drain := inner.Drain
	inner.Drain = func(ctx context.Context) error {
		s.readiness.Drain("the process is ending")
		return drain(ctx)
	}
	return inner
}
