package search

import (
	"context"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/metrics"
	"github.com/poterne/poterne/services/search/internal/outage"
)

// The names of the readiness checks.
const (
	// CheckDocuments is of what every call needs: the store, and an index of each
	// collection that answers.
	CheckDocuments = "search: documents"
	// CheckIndexes is of indexes that are followed to the present. It is advisory:
	// what was written before can be found without, and what is written meanwhile
	// is kept.
	CheckIndexes = "search: indexes"
)

// Components is the service's background work. It listens nowhere.
func (s *Service) Components() []lifecycle.Component {
	documents := s.readiness.Register(CheckDocuments)
	documents.NotReady("the collections are being opened")
	advisory := health.NewReadiness(s.opts.clock)
	indexes := advisory.Register(CheckIndexes)
	s.readiness.Advise(advisory)
	return []lifecycle.Component{s.identity.Component(), {
		Name: "search: indexes",
		Run: func(ctx context.Context) error {
			return s.follower.Run(ctx, func(now follow.State) {
				s.indexed(ctx, now)
				indexes.Report(notFollowed(now.Indexes))
				documents.Report(s.notServed(now))
			})
		},
		Stop: func(context.Context) error { return s.close() },
	}, {
		Name: "search: cluster",
		Run:  s.lookAtCluster,
	}, {
		Name: "search: expiry",
		Run:  s.sweeper().Run,
	}, {
		Name: "search: embedding generations",
		Run:  s.builder.Run,
	}, {
		Name: "search: presence",
		Run:  s.announcer().Run,
	}}
}

// indexed reports what there is. Without the store nothing is known of it.
func (s *Service) indexed(ctx context.Context, now follow.State) {
	if now.Store == nil {
		s.metrics.Indexed(ctx, metrics.Indexes{
			Collections: now.Collections, Documents: now.Documents, Chunks: now.Chunks, Behind: now.Behind, Lag: now.Lag,
		})
	}
}

// notServed says why calls cannot be answered. An index that other replicas
// have, too, holds none of them back: whoever asks is told, and documents can be
// written and read without.
func (s *Service) notServed(now follow.State) error {
	switch {
	case now.Store != nil:
		return fmt.Errorf("the documents cannot be read: %s", apierr.From(outage.Of(now.Store)).Message)
	case !now.Searchable && s.cfg.Index.Kind == KindEmbedded:
		return notFollowed(now.Indexes)
	default:
		return nil
	}
}

// notFollowed is what the readiness check shows of err; the log has the rest.
func notFollowed(err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*index.RefusedError](err); ok {
		return fmt.Errorf("not every collection can be followed: %s", refused.Why)
	}
	return fmt.Errorf("not every collection can be followed: %s", apierr.From(outage.Of(err)).Message)
}

// Run serves until ctx ends: the background work, the gRPC port, the ops port,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	s.identity.Warn(ctx, identityEnds())
	server, err := grpcserver.New(s.cfg.GRPC, tel, s.chain, s.RegisterGRPC, grpcserver.WithReadiness(s.readiness)) //nolint:contextcheck // certificates are looked at for no one request
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
