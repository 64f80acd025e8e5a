package edge

import (
	"context"
	"errors"

	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/hugepages"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/footprint"
)

// Components is the edge's background work, in the order of starting. It
// listens nowhere.
func (s *Service) Components() []lifecycle.Component {
	comps := []lifecycle.Component{{
		Name: "edge: connections", Stop: func(context.Context) error { return s.close() },
	}}
	comps = append(comps, s.security.Components()...)
	if s.cfg.Security.Audit.OnFull == audit.FullRefuse {
		comps = append(comps, s.auditComponent())
	}
	comps = append(comps, s.responses.Component(), s.conversations.Component(), s.files.Component(), s.identity.Component(), s.readyComponent())
	return append(comps, s.runner.Components()...)
}

// Run serves until ctx ends: the background work, the HTTP, gRPC and ops ports,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	s.identity.Warn(ctx, identityEnds())
	ports, err := s.NewPorts() //nolint:contextcheck // certificates are looked at for no one request
	if err != nil {
		return errors.Join(err, s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, s.Components()...)
	comps = append(comps, ports.Components()...)
	comps = append(comps, s.registration(ports), footprint.Component(s.opts.clock), hugepages.KeepHeap(s.opts.clock))
	return lifecycle.Run(ctx, lifecycle.Options{Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout}, comps...)
}

// registration makes the edge known, and is the first part to drain: it turns
// the edge not ready, for load balancers that ask, before the ports close.
func (s *Service) registration(ports *Ports) lifecycle.Component {
	return s.cfg.Discovery.Announce(s.discovery, backend.Announcement{
		Service: ServiceName, Listening: ports.GRPC.Addr, Readiness: s.readiness, Telemetry: s.opts.telemetry,
		Meta: func() map[string]string { return map[string]string{"http": ports.HTTP.Addr().String()} },
	})
}
