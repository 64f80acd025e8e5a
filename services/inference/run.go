package inference

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/hugepages"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/maxprocs"
	"github.com/poterne/poterne/pkg/telemetry"
)

// The names of the readiness checks.
const (
	CheckRegistry = "inference: registry"
	CheckWorkers  = "inference: workers"
)

// Components is the service's background work, in the order of starting. It
// listens nowhere.
func (s *Service) Components() []lifecycle.Component {
	return []lifecycle.Component{
		{
			Name:  "inference: registry",
			Start: func(ctx context.Context) error { s.follower.Load(ctx); return nil },
			Run:   s.follower.Run,
			Stop:  func(context.Context) error { return s.close() },
		},
		s.identity.Component(),
		s.reporting.component(),
		{Name: "inference: workers", Run: s.fleet.Run},
		{Name: "inference: placement", Run: s.placement.Run},
		s.shadowComponent(),
		s.readinessComponent(),
	}
}

// readinessComponent reports when the registry's state is known and every worker
// that discovery named at the start was heard: a replica that took requests
// before would refuse what its workers could serve.
func (s *Service) readinessComponent() lifecycle.Component {
	registry, workers := s.readiness.Register(CheckRegistry), s.readiness.Register(CheckWorkers)
	registry.NotReady("the registry has not been reached yet")
	workers.NotReady("the workers have not been heard yet")
	return lifecycle.Component{
		Name: "inference: readiness",
		Run: func(ctx context.Context) error {
			for {
				snapshot, snapshotChanged := s.follower.Watch()
				view, viewChanged := s.fleet.Watch()
				setReady(registry, snapshot != nil)
				setReady(workers, view.Settled)
				if snapshot != nil && view.Settled {
					return nil
				}
				select {
				case <-snapshotChanged:
				case <-viewChanged:
				case <-ctx.Done():
					return nil
				}
			}
		},
	}
}

func setReady(c *health.Check, ready bool) {
	if ready {
		c.Ready()
	}
}

// Run serves until ctx ends: the background work, the gRPC port, the ops port,
// and the registration in discovery. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	tel := s.opts.telemetry
	s.identity.Warn(ctx, identityEnds())
	server, err := grpcserver.New(s.cfg.GRPC, tel, s.chain, s.RegisterGRPC, grpcserver.WithReadiness(s.readiness), grpcserver.WithDirect()) //nolint:contextcheck // certificates are looked at for no one request
	if err != nil {
		return errors.Join(fmt.Errorf("inference: %w", err), s.close())
	}
	var comps []lifecycle.Component
	if s.cfg.Telemetry.OpsAddr != "" {
		comps = append(comps, telemetry.NewOpsServer(s.cfg.Telemetry.OpsAddr, tel, s.readiness).Component())
	}
	comps = append(comps, maxprocs.Component(s.opts.clock), hugepages.KeepHeap(s.opts.clock), hugepages.Program(tel.Logger))
	comps = append(comps, s.Components()...)
	comps = append(comps, server.Component(), s.registered.component(server))
	return lifecycle.Run(ctx, lifecycle.Options{Logger: tel.Logger, DrainTimeout: s.cfg.DrainTimeout}, comps...)
}

// registration makes the service known once it is ready, and not before.
type registration struct {
	service *Service

	mu      sync.Mutex
	inner   lifecycle.Component
	started bool
	ended   bool
}

func (r *registration) component(server *grpcserver.Server) lifecycle.Component {
	s := r.service
	r.inner = s.cfg.Discovery.Announce(s.discovery, backend.Announcement{
		Service: ServiceName, Listening: server.Addr, Readiness: s.readiness, Telemetry: s.opts.telemetry,
	})
	return lifecycle.Component{
		Name: "registration",
		Run:  r.run,
		Drain: func(ctx context.Context) error {
			s.readiness.Drain("the process is ending")
			if r.end() {
				return r.inner.Drain(ctx)
			}
			return nil
		},
		Stop: func(ctx context.Context) error { r.end(); return r.inner.Stop(ctx) },
	}
}

func (r *registration) run(ctx context.Context) error {
	ready := make(chan struct{}, 1)
	r.service.readiness.Subscribe(func(now bool) {
		if now {
			select {
			case ready <- struct{}{}:
			default:
			}
		}
	})
	select {
	case <-ready:
	case <-ctx.Done():
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	r.started = true
	return r.inner.Start(ctx)
}

// end prevents a registration from now on, and reports whether there was one.
func (r *registration) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.started
}
