// Package registry is the service that says which version of a model serves.
// It keeps models, immutable versions with their variants, aliases and splits on
// SQLite or PostgreSQL, gives every change a revision, and streams changes to
// whoever watches. Start reading at New, which puts the parts together.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/artifact"
	"github.com/poterne/poterne/services/registry/internal/content"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/feed"
	"github.com/poterne/poterne/services/registry/internal/lease"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/server"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/webhook"
)

// Service is the registry, put together and not yet running.
type Service struct {
	cfg       Config
	opts      options
	readiness *health.Readiness
	check     *health.Check
	chain     grpcserver.Chain
	validator protovalidate.Validator
	metrics   *metrics.Metrics
	identity  *assertion.Assertions
	store     *store.Store
	feed      *feed.Feed
	evidence  *evidence.Keeper
	server    *server.Server
	webhooks  *webhook.Deliverer
	rollouts  *rollout.Controller
	artifacts *artifact.Manager

	closers []func() error // in the order of opening
}

// New opens the store, brings its schema up to date and puts the service
// together. It opens no port. cfg must be complete.
func New(ctx context.Context, cfg Config, opts ...Option) (*Service, error) {
	s := &Service{cfg: cfg, opts: newOptions(opts)}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("registry: %w", err), s.close())
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
	s.check = s.readiness.Register(CheckStore)
	var err error
	if s.metrics, err = metrics.New(o.telemetry.Meter(metrics.Scope)); err != nil {
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
	signatures, err := signing.NewPolicy(s.cfg.Signatures)
	if err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	s.store, err = store.Open(ctx, s.cfg.Store, o.telemetry.Logger, store.Options{
		Clock: o.clock, Random: o.random, KeepChanges: s.cfg.Watch.KeepChanges, MaxModels: s.cfg.Limits.Models,
		MaxAliases: s.cfg.Limits.AliasesPerModel, MaxModelBytes: int64(s.cfg.Limits.ModelBytes), Committed: s.committed,
		KeepDeleted: s.cfg.Deleted.keep(), May: mayServe(signatures),
		MaxPending: s.cfg.Webhooks.MaxPending, KeepDeliveries: s.cfg.Webhooks.KeepDeliveries,
		ProtectedAliases: s.cfg.Aliases.Protected, ApprovalTime: s.cfg.Aliases.ApprovalTime,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.store.Close)
	s.feed = s.newFeed()
	if s.webhooks, err = s.newDeliverer(); err != nil {
		return err
	}
	s.evidence = evidence.New(s.store, o.clock, o.telemetry.Logger)
	if o.judge == nil {
		o.judge = s.evidence
	}
	s.server = server.New(s.store, s.feed, s.evidence, server.Options{
		MaxWatchers: s.cfg.Limits.Watchers, PlatformTenant: s.cfg.Identity.PlatformTenant, Signatures: signatures,
		WakeWebhooks: s.webhooks.Wake,
		WakeRollouts: func() { s.rollouts.Wake() }, // which is made below
		Validator:    s.validator,
		Judge:        o.judge,
		Sources:      server.Sources{Roots: s.cfg.Sources.Roots, MaxBytes: int64(s.cfg.Sources.MaxBytes)},
	})
	at := slices.IndexFunc(s.chain, func(i grpcserver.Interceptor) bool { return i.Name == grpcserver.NameValidate })
	s.chain = slices.Insert(s.chain, at+1, s.server.Tenants())
	stop, err := s.metrics.Observe(s.feed.Revision, s.server.Watchers)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	if err := s.newArtifacts(); err != nil {
		return err
	}
	return s.buildRollouts()
}

// mayServe refuses versions that must not serve for want of a signature.
func mayServe(p signing.Policy) func(*registryv1.Version) error {
	return func(v *registryv1.Version) error {
		if err := signing.Check(p, v.GetDigest(), v.GetSignatures()); err != nil {
			return apierr.New(apierr.FailedPrecondition, "version %d of %q must not serve: %v", v.GetNumber(), v.GetModel(), err).
				WithField("version")
		}
		return nil
	}
}

func (s *Service) newArtifacts() error {
	cfg := s.cfg.Artifacts
	var bytes artifact.Content
	switch {
	case cfg.S3.Bucket == "":
		bytes = content.NewDirectory(cfg.Dir, int64(cfg.MinFree), content.DiskFree)
	case s.opts.buckets == nil:
		return errors.New("artifacts.s3: this program keeps artifacts in a directory; poterne-registry keeps them in buckets, too")
	default:
		var err error
		if bytes, err = s.opts.buckets(cfg.S3); err != nil {
			return err
		}
	}
	s.artifacts = artifact.New(cfg, artifact.Parts{
		Store: s.store, Content: bytes, Clock: s.opts.clock, IDs: s.opts.ids, Metrics: s.metrics,
	})
	stop, err := s.metrics.ObserveArtifacts()
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	return nil
}

func (s *Service) newFeed() *feed.Feed {
	opts := feed.Options{
		Clock: s.opts.clock, Logger: s.opts.telemetry.Logger, Poll: s.cfg.Watch.PollInterval,
		Heartbeat: s.cfg.Watch.Heartbeat, Report: s.report,
	}
	if dialect, err := sqldb.DialectOf(s.cfg.Store.DSN.Reveal()); err == nil && dialect == sqldb.Postgres {
		opts.Listen = func(ctx context.Context, wake func()) error { return store.Listen(ctx, s.cfg.Store, wake) }
	}
	return feed.New(s.store, opts)
}

func (s *Service) newDeliverer() (*webhook.Deliverer, error) {
	allowed, err := webhook.ParsePrefixes(s.cfg.Webhooks.AllowAddresses)
	if err != nil {
		return nil, err
	}
	return webhook.New(s.store, webhook.Options{
		Clock: s.opts.clock, Logger: s.opts.telemetry.Logger, Poll: s.cfg.Watch.PollInterval, Timeout: s.cfg.Webhooks.Timeout,
		Attempts: s.cfg.Webhooks.Attempts, Allowed: allowed, Version: s.opts.version, Tried: s.metrics.Tried,
	}), nil
}

// deliver sends messages to webhooks whenever this replica is the one that does.
func (s *Service) deliver(ctx context.Context) error {
	k := lease.Keeper{
		Store: s.store, Name: "webhooks", Holder: s.opts.ids.New(), Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Beat: s.cfg.Webhooks.LeaseBeat,
	}
	return k.Run(ctx, s.webhooks.Run)
}

// report tells readiness whether the store answers. The error may name hosts,
// so it goes to the logs only.
func (s *Service) report(err error) {
	if err != nil {
		s.check.NotReady("the store does not answer")
		return
	}
	s.check.Ready()
}

// committed tells everybody of a change of this process.
func (s *Service) committed(c store.Commit) {
	s.feed.Wake()
	s.webhooks.Wake()
	ctx := context.Background()
	s.metrics.Changed(ctx, c.Kind)
	s.opts.telemetry.Logger.LogAttrs(ctx, slog.LevelInfo, "changed", slog.String(metrics.KeyKind, c.Kind),
		slog.String(metrics.KeyModel, c.Model), slog.Int64(metrics.KeyRevision, c.Revision), slog.String(metrics.KeyActor, c.Actor))
}

// newChain is the standard chain with the caller's identity before validation.
func (s *Service) newChain() (grpcserver.Chain, error) {
	// Rules are compiled now rather than during the first requests.
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&registryv1.CreateModelRequest{}, &registryv1.GetModelRequest{}, &registryv1.ListModelsRequest{},
		&registryv1.UpdateModelRequest{}, &registryv1.DeleteModelRequest{}, &registryv1.CreateVersionRequest{}, &registryv1.GetVersionRequest{},
		&registryv1.ListVersionsRequest{}, &registryv1.CreateVariantRequest{}, &registryv1.GetVariantRequest{},
		&registryv1.ListVariantsRequest{}, &registryv1.DeleteVariantRequest{}, &registryv1.SetAliasRequest{}, &registryv1.GetAliasRequest{},
		&registryv1.ListAliasesRequest{}, &registryv1.DeleteAliasRequest{}, &registryv1.SetSplitRequest{},
		&registryv1.ListAliasHistoryRequest{}, &registryv1.RollbackAliasRequest{}, &registryv1.GetAliasChangeRequest{},
		&registryv1.ListAliasChangesRequest{}, &registryv1.ApproveAliasChangeRequest{}, &registryv1.RejectAliasChangeRequest{},
		&registryv1.GetAliasProtectionRequest{}, &registryv1.SetAliasProtectionRequest{}, &registryv1.ListSplitHistoryRequest{},
		&registryv1.RollbackSplitRequest{}, &registryv1.CreatePromptVersionRequest{}, &registryv1.GetPromptVersionRequest{},
		&registryv1.ListPromptVersionsRequest{}, &registryv1.ListPromptsRequest{}, &registryv1.SetPromptAliasRequest{},
		&registryv1.DeletePromptAliasRequest{}, &registryv1.ListPromptAliasHistoryRequest{}, &registryv1.RollbackPromptAliasRequest{}, &registryv1.RenderPromptRequest{},
		&registryv1.GetSplitRequest{}, &registryv1.DeleteSplitRequest{}, &registryv1.WatchRequest{},
		&registryv1.CreateExperimentRequest{}, &registryv1.GetExperimentRequest{}, &registryv1.ListExperimentsRequest{},
		&registryv1.UpdateExperimentRequest{}, &registryv1.DeleteExperimentRequest{}, &registryv1.StartExperimentRequest{},
		&registryv1.RampExperimentRequest{}, &registryv1.StopExperimentRequest{}, &registryv1.ConcludeExperimentRequest{},
		&registryv1.InspectSourceRequest{}, &registryv1.ExportModelsRequest{}, &registryv1.ImportModelsRequest{},
		&registryv1.UndeleteModelRequest{}, &registryv1.UpdateVersionRequest{}, &registryv1.DeleteVersionRequest{},
		&registryv1.UndeleteVersionRequest{}, &registryv1.SignVersionRequest{},
		&registryv1.ReportOutcomesRequest{}, &registryv1.RecordFeedbackRequest{}, &registryv1.GetResultsRequest{},
		&registryv1.GetExperimentResultsRequest{}, &registryv1.ListFeedbackRequest{}, &registryv1.GetPromptRequest{},
		&registryv1.ExportArchiveRequest{}, &registryv1.ImportArchiveRequest{},
		&registryv1.ListChangesRequest{}, &registryv1.ResolveVersionRequest{}, &registryv1.CreateWebhookRequest{},
		&registryv1.GetWebhookRequest{}, &registryv1.ListWebhooksRequest{}, &registryv1.UpdateWebhookRequest{},
		&registryv1.DeleteWebhookRequest{}, &registryv1.ListDeliveriesRequest{}, &registryv1.RedeliverRequest{},
		&registryv1.CreateRolloutRequest{}, &registryv1.GetRolloutRequest{}, &registryv1.ListRolloutsRequest{},
		&registryv1.ListRolloutEventsRequest{}, &registryv1.PauseRolloutRequest{}, &registryv1.ResumeRolloutRequest{},
		&registryv1.ForceRolloutRequest{}, &registryv1.AbortRolloutRequest{},
		&registryv1.CreateUploadRequest{}, &registryv1.AppendUploadRequest{}, &registryv1.GetUploadRequest{}, &registryv1.ListUploadsRequest{},
		&registryv1.ListUploadPartsRequest{}, &registryv1.CompleteUploadRequest{}, &registryv1.DeleteUploadRequest{},
		&registryv1.GetArtifactRequest{}, &registryv1.ListArtifactsRequest{}, &registryv1.DeleteArtifactRequest{},
		&registryv1.CollectArtifactsRequest{}, &registryv1.ReadArtifactRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	s.validator = validator
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{
		Telemetry: s.opts.telemetry, Clock: s.opts.clock, IDs: s.opts.ids, Validator: validator,
	})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(chain, func(i grpcserver.Interceptor) bool { return i.Name == grpcserver.NameValidate })
	return slices.Insert(chain, max(0, at), s.identity.Server()), nil
}

// identityRequired asks for a caller on the service's own methods; health and
// reflection have none, and Watch, ReportOutcomes and ReadArtifact are called by
// services for themselves.
func (s *Service) identityRequired(fullMethod string) bool {
	switch fullMethod {
	case registryv1.RegistryService_Watch_FullMethodName, registryv1.RegistryService_ReportOutcomes_FullMethodName,
		registryv1.ArtifactService_ReadArtifact_FullMethodName:
		return false
	}
	service, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return s.cfg.Identity.Required &&
		(service == registryv1.RegistryService_ServiceDesc.ServiceName || service == registryv1.ArtifactService_ServiceDesc.ServiceName)
}

// RegisterGRPC registers the service's gRPC servers. Calls must pass
// Interceptors on their way to them.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	registryv1.RegisterRegistryServiceServer(r, s.server)
	registryv1.RegisterArtifactServiceServer(r, artifact.NewServer(s.artifacts))
}

// Interceptors is the chain around the service's gRPC servers.
func (s *Service) Interceptors() grpcserver.Chain { return s.chain }

// Readiness says whether the store answers.
func (s *Service) Readiness() *health.Readiness { return s.readiness }

// close releases what New opened, in the reverse order.
func (s *Service) close() error {
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end())
	}
	s.closers = nil
	return errors.Join(errs...)
}
