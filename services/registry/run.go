package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// CheckStore is the name of the readiness check.
const CheckStore = "registry: store"

// Components is the service's background work, in the order of starting. It
// listens nowhere. Draining it ends the watch streams: a server that waits for
// its streams must be drained after EndWatches.
func (s *Service) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{Name: "registry: store", Stop: func(context.Context) error { return s.close() }},
		s.identity.Component(),
		{Name: "registry: evidence", Run: s.evidence.Run},
		{Name: "registry: rollouts", Run: s.rollouts.Run},
		{Name: "registry: feed", Start: s.feed.Start, Run: s.feed.Follow, Drain: s.endWatches},
		{Name: "registry: purge", Run: s.purge},
		{Name: "registry: webhooks", Run: s.deliver},
		{Name: "registry: artifacts", Run: func(ctx context.Context) error {
			return s.artifacts.Run(ctx, rand.Float64, s.opts.telemetry.Logger)
		}},
	}
}

// purge removes for good what was deleted long enough ago, until ctx ends. A store
// that does not answer is the feed's to tell of.
func (s *Service) purge(ctx context.Context) error {
	return lifecycle.Every(ctx, s.opts.clock, s.cfg.Deleted.PurgeInterval, rand.Float64, func(ctx context.Context) error {
		for {
			n, err := s.store.Purge(ctx)
			if err != nil || n == 0 {
				return nil //nolint:nilerr // it is tried again
			}
		}
	})
}

// EndWatches is a component that ends the watch streams when it is drained: put
// it after the server that they are on, so that it is drained first.
func (s *Service) EndWatches() lifecycle.Component {
	return lifecycle.Component{Name: "registry: watches", Drain: s.endWatches}
}

func (s *Service) endWatches(context.Context) error {
	s.feed.Close()
	return nil
}

// Run serves until ctx ends: the background work, the gRPC port, the ops port,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	s.identity.Warn(ctx, identityEnds())
	disc := s.opts.discovery
	if disc == nil {
		b, err := backend.Open(s.cfg.Discovery, s.opts.clock, tel.Logger)
		if err != nil {
			return errors.Join(fmt.Errorf("registry: open discovery: %w", err), s.close())
		}
		disc = b
	}
	srv, err := grpcserver.New(s.cfg.GRPC, tel, s.chain, s.RegisterGRPC, grpcserver.WithReadiness(s.readiness)) //nolint:contextcheck // certificates are looked at for no one request
	if err != nil {
		return errors.Join(fmt.Errorf("registry: %w", err), s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, s.Components()...)
	comps = append(comps, srv.Component(), s.EndWatches(), s.registration(disc, srv))
	return lifecycle.Run(ctx, lifecycle.Options{Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout}, comps...)
}

// registration makes the service known while it serves.
func (s *Service) registration(r discovery.Registrar, srv *grpcserver.Server) lifecycle.Component {
	return s.cfg.Discovery.Announce(r, backend.Announcement{
		Service: ServiceName, Listening: srv.Addr, Readiness: s.readiness, Telemetry: s.opts.telemetry,
	})
}
