// Package inference serves models by name: it follows the registry, which says
// which version serves, and the workers, which say what they have loaded, has
// what is missing loaded, and passes requests on. It reads no request's body.
// Start reading at New, which puts the parts together.
package inference

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/api"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/poison"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
	"github.com/poterne/poterne/services/inference/internal/shadow"
)

// Service is the inference service, put together and not yet running.
type Service struct {
	cfg       Config
	opts      options
	readiness *health.Readiness
	discovery backend.Backend
	registry  grpc.ClientConnInterface
	identity  *assertion.Assertions
	chain     grpcserver.Chain
	replica   string // this process's name to the workers
	metrics   *metrics.Metrics

	follower   *catalog.Follower
	fleet      *fleet.Fleet
	workers    []grpcclient.Option // shared by the connections to all of them
	placement  *placement.Controller
	scheduler  *schedule.Scheduler
	router     *routing.Router
	shadows    *shadow.Runner
	poison     *poison.Guard
	server     *api.Server
	reporting  *reporting
	registered *registration

	closers []func() error // in the order of opening
}

// New puts the service together. It opens no port and asks nobody anything. cfg
// must be complete.
func New(ctx context.Context, cfg Config, opts ...Option) (*Service, error) {
	s := &Service{cfg: cfg, opts: newOptions(opts)}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("inference: %w", err), s.close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	o := &s.opts
	if o.telemetry == nil {
		tel, err := telemetry.New(ctx, ServiceName, o.version, s.cfg.Telemetry)
		if err != nil {
			return err
		}
		o.telemetry = tel
		s.closers = append(s.closers, func() error { return tel.Shutdown(context.WithoutCancel(ctx)) })
	}
	if s.readiness = o.readiness; s.readiness == nil {
		s.readiness = health.NewReadiness(o.clock)
	}
	if s.discovery = o.discovery; s.discovery == nil {
		b, err := backend.Open(s.cfg.Discovery, o.clock, o.telemetry.Logger)
		if err != nil {
			return fmt.Errorf("open discovery: %w", err)
		}
		s.discovery = b
	}
	var err error
	if s.metrics, err = metrics.New(o.telemetry); err != nil {
		return err
	}
	if s.identity, err = assertion.Open(assertion.Options{
		Service: ServiceName, Config: s.cfg.Identity.Keys, Access: access(), Required: s.identityRequired,
		PlatformTenant: s.cfg.Identity.PlatformTenant,
		Clock:          o.clock, Telemetry: o.telemetry,
	}); err != nil {
		return err
	}
	if s.chain, err = s.newChain(); err != nil { //nolint:contextcheck // its steps work in the calls' contexts
		return err
	}
	if s.follower, err = s.newFollower(); err != nil { //nolint:contextcheck // its breaker reports on no call's behalf
		return err
	}
	s.replica = o.ids.New()
	s.workers = append(s.workers, s.identity.Own(WorkerName))
	if s.reporting, err = s.newReporting(registryv1.NewRegistryServiceClient(s.registry)); err != nil {
		return err
	}
	if s.fleet, err = s.newFleet(); err != nil { //nolint:contextcheck // certificates are looked at for no one request
		return err
	}
	s.placement = s.newPlacement()
	s.poison = poison.New(s.cfg.Poison, o.clock)
	s.scheduler = s.newScheduler()
	s.router = s.newRouter()
	if s.shadows, err = s.newShadows(); err != nil {
		return err
	}
	s.server = api.New(api.Options{
		Catalog: s.follower, Fleet: s.fleet, Router: s.router, Metrics: s.metrics, Placement: s.placement, Shadows: s.shadows,
		Outcomes: s.reporting.recorder,
		Variants: s.cfg.Placement.policies(), QuantizeTimeout: s.cfg.Quantize.Timeout,
		Clock: o.clock, Replica: s.replica, PlatformTenant: s.cfg.Identity.PlatformTenant, Timeout: s.cfg.Routing.Timeout,
	})
	s.registered = &registration{service: s}
	stop, err := s.metrics.Observe(s.gauges())
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	return nil
}

// newChain is the standard chain with the caller's identity before validation.
func (s *Service) newChain() (grpcserver.Chain, error) {
	// Rules are compiled now rather than during the first requests.
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&inferencev1.InvokeRequest{}, &inferencev1.EmbedRequest{}, &inferencev1.RerankRequest{},
		&inferencev1.CountTokensRequest{}, &inferencev1.GetServedModelRequest{}, &inferencev1.ResolveServingRequest{},
		&inferencev1.ListServedModelsRequest{}, &inferencev1.ListWorkersRequest{}, &inferencev1.LiftQuarantineRequest{},
		&inferencev1.InferTensorsRequest{}, &inferencev1.GetTensorModelRequest{}, &inferencev1.QuantizeModelRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{
		Telemetry: s.opts.telemetry, Clock: s.opts.clock, IDs: s.opts.ids, Validator: grpcserver.Shortcut(validator, api.Sure),
		Probes: []string{inferencev1.InferenceService_ListServedModels_FullMethodName}, // edges ask every second
	})
	if err != nil {
		return nil, err
	}
	return insertIdentity(chain, s.identity.Server()), nil
}

// RegisterGRPC registers the service's gRPC servers. Calls must pass
// Interceptors on their way to them.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	inferencev1.RegisterInferenceServiceServer(r, s.server)
}

// Interceptors is the chain around the service's gRPC servers.
func (s *Service) Interceptors() grpcserver.Chain { return s.chain }

// Readiness says whether the registry's state is known and the workers were
// heard.
func (s *Service) Readiness() *health.Readiness { return s.readiness }

// close releases what New opened, in the reverse order.
func (s *Service) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	s.closers = nil
	return errors.Join(errs...)
}
