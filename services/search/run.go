package search

import (
	"context"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/outage"
)

// CheckIndexes is the name of the readiness check.
const CheckIndexes = "search: indexes"

// Components is the service's background work. It listens nowhere.
func (s *Service) Components() []lifecycle.Component {
	check := s.readiness.Register(CheckIndexes)
	check.NotReady("the collections are being opened")
	return []lifecycle.Component{{
		Name: "search: indexes",
		Run: func(ctx context.Context) error {
			return s.follower.Run(ctx, func(err error) { check.Report(notFollowed(err)) })
		},
		Stop: func(context.Context) error { return s.close() },
	}, {Name: "search: embedding generations", Run: s.builder.Run}}
}

// notFollowed is what the readiness check shows of err; the log has the rest.
func notFollowed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("not every collection can be followed: %s", apierr.From(outage.Of(err)).Message)
}

// Run serves until ctx ends: the background work, the gRPC port, the ops port,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	server, err := grpcserver.New(s.cfg.GRPC, tel, s.chain, s.RegisterGRPC, grpcserver.WithReadiness(s.readiness))
	if err != nil {
		return errors.Join(fmt.Errorf("search: %w", err), s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, s.Components()...)
	comps = append(comps, server.Component(), s.registration(server))
	return lifecycle.Run(ctx, lifecycle.Options{Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout}, comps...)
}

// registration makes the service known while it runs. It may be asked before
// every index is open: a search then waits for the one it needs.
func (s *Service) registration(server *grpcserver.Server) lifecycle.Component {
	return s.cfg.Discovery.Announce(s.discovery, backend.Announcement{
		Service: ServiceName, Listening: server.Addr, Readiness: s.readiness, Telemetry: s.opts.telemetry,
	})
}
