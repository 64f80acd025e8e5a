package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/hugepages"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/maxprocs"
	"github.com/poterne/poterne/pkg/telemetry"
)

// CheckAgent is the name of the readiness check.
const CheckAgent = "worker: agent"

// Components is the service's background work, in the order of starting. It
// listens nowhere. Draining it waits for requests in flight and ends the streams
// of state; stopping it ends the engines.
func (s *Service) Components() []lifecycle.Component {
	return []lifecycle.Component{s.identity.Component(), {
		Name: "worker: agent", Start: s.start, Run: s.agent.Run, Drain: s.agent.Drain, Stop: s.stop,
	}}
}

func (s *Service) start(ctx context.Context) error {
	if err := s.agent.Recover(ctx); err != nil {
		return err
	}
	s.check.Ready()
	return nil
}

func (s *Service) stop(ctx context.Context) error {
	return errors.Join(s.agent.Stop(ctx), s.close())
}

// stopMargin is the time for everything but the engines to stop.
const stopMargin = 3 * time.Second

// Run serves until ctx ends: the background work, the gRPC port, the ops port,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	s.identity.Warn(ctx, identityEnds())
	disc := s.opts.discovery
	if disc == nil {
		b, err := backend.Open(s.cfg.Discovery, s.opts.clock, tel.Logger)
		if err != nil {
			return errors.Join(fmt.Errorf("worker: open discovery: %w", err), s.close())
		}
		disc = b
	}
	srv, err := grpcserver.New(s.cfg.GRPC, tel, s.chain, s.RegisterGRPC, grpcserver.WithReadiness(s.readiness), grpcserver.WithDirect()) //nolint:contextcheck // certificates are looked at for no one request
	if err != nil {
		return errors.Join(fmt.Errorf("worker: %w", err), s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, maxprocs.Component(s.opts.clock), hugepages.KeepHeap(s.opts.clock), hugepages.Program(tel.Logger))
	comps = append(comps, s.Components()...)
	// Closing runs backwards: leave discovery, let requests end, then the port.
	comps = append(comps, srv.Component(),
		lifecycle.Component{Name: "worker: requests", Drain: s.agent.Drain}, s.registration(disc, srv))
	err = lifecycle.Run(ctx, lifecycle.Options{
		Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout, StopTimeout: s.cfg.Supervision.StopGrace + stopMargin,
	}, comps...)
	// A run that ends before the agent starts does not stop it either.
	return errors.Join(err, s.close())
}

// registration makes the worker known while it serves.
func (s *Service) registration(r discovery.Registrar, srv *grpcserver.Server) lifecycle.Component {
	return s.cfg.Discovery.Announce(r, backend.Announcement{
		Service: ServiceName, ID: s.id, Listening: srv.Addr, Readiness: s.readiness, Telemetry: s.opts.telemetry,
		Meta: func() map[string]string { return map[string]string{"worker_id": s.id} },
	})
}
