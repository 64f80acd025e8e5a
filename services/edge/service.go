// Package edge is the gate: REST and gRPC for callers outside, one chain of
// steps that asks who they are and what they may, and behind it OpenAI's API,
// search, the registry and administration. It keeps API keys and the audit
// trail; models and documents are other services' business. Start reading at
// New, which puts the parts together.
package edge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/batches"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/feedback"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/gateway"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/mcptool"
	"github.com/poterne/poterne/services/edge/internal/messages"
	"github.com/poterne/poterne/services/edge/internal/mlflow"
	"github.com/poterne/poterne/services/edge/internal/moderation"
	"github.com/poterne/poterne/services/edge/internal/openai"
	"github.com/poterne/poterne/services/edge/internal/openapi"
	"github.com/poterne/poterne/services/edge/internal/openinference"
	"github.com/poterne/poterne/services/edge/internal/proxy"
	"github.com/poterne/poterne/services/edge/internal/responses"
	"github.com/poterne/poterne/services/edge/internal/searchmeter"
	"github.com/poterne/poterne/services/edge/internal/searchroute"
	"github.com/poterne/poterne/services/edge/internal/security"
	"github.com/poterne/poterne/services/edge/internal/serving"
	"github.com/poterne/poterne/services/edge/internal/wellformed"
)

// Service is the edge, put together and not yet running.
type Service struct {
	cfg           Config
	opts          options
	readiness     *health.Readiness
	discovery     backend.Backend
	backends      backends
	identity      *assertion.Assertions
	security      *security.Security
	openai        *openai.Server
	responses     *responses.Server
	conversations *conversation.Memory
	moderation    *moderation.Server
	files         *files.Server
	batches       *batches.Server
	runner        *batches.Runner
	feedback      *feedback.Server
	tensors       *openinference.Server
	codec         *jsoncodec.Codec
	validator     protovalidate.Validator
	chain         grpcserver.Chain
	handler       http.Handler

	closers []func() error // in the order of opening
}

// New puts the edge together. It opens its store, and writes the first key when
// there never was one; it opens no port and asks no other service. cfg must be
// complete.
func New(ctx context.Context, cfg Config, opts ...Option) (*Service, error) {
	cfg.Security.Tokens.CompleteIssue(cfg.HTTP.Addr)
	s := &Service{cfg: cfg, opts: newOptions(opts), codec: jsoncodec.New(jsoncodec.Options{}), validator: grpcserver.LazyValidator()}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("edge: %w", err), s.close())
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
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if err := s.dial(); err != nil { //nolint:contextcheck // a breaker logs its changes for no one call
		return err
	}
	var err error
	if s.security, err = security.New(ctx, s.cfg.Security, security.Deps{
		DataDir: s.cfg.DataDir, Telemetry: o.telemetry, Clock: o.clock, IDs: o.ids,
		Inference: inferencev1.NewInferenceServiceClient(s.backends.inference), Search: searchv1.NewSearchServiceClient(s.backends.search),
		Registry: registryv1.NewRegistryServiceClient(s.backends.registry), OpenRedis: o.redis, OpenRules: o.rules, OpenSharedCache: o.shared,
		Edges:          s.replicas(),
		PolicyProblems: s.advisePolicies(), ModelProblem: s.adviseModels(),
	}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.security.Close)
	if s.chain, err = s.newChain(); err != nil { //nolint:contextcheck // each call has its own
		return err
	}
	return s.newServers(ctx)
}

// newChain is every step that a request passes, from REST or from gRPC.
func (s *Service) newChain() (grpcserver.Chain, error) {
	tel, err := grpcserver.Telemetry(s.opts.telemetry, s.opts.clock)
	if err != nil {
		return nil, err
	}
	chain := grpcserver.Chain{grpcserver.Recover(s.opts.telemetry.Logger), grpcserver.RequestID(s.opts.ids), tel}
	return append(chain, s.security.Chain(grpcserver.Validate(grpcserver.Shortcut(s.validator, wellformed.Sure)))...), nil
}

func (s *Service) newServers(ctx context.Context) error {
	codec := s.codec
	inference, err := s.gated(inferencev1.NewInferenceServiceClient(s.backends.inference)) //nolint:contextcheck // the limit is no one request's
	if err != nil {
		return err
	}
	collections := searchmeter.NewCollections(searchv1.NewSearchServiceClient(s.backends.search), s.opts.clock)
	if err := s.gateBackends(); err != nil { //nolint:contextcheck // limits are no one request's
		return err
	}
	s.backends.registry = serving.Noting(s.backends.registry, s.security.Serving)
	// Each search that a route has asked is metered, also where it has two asked for one.
	searches := func(part string) grpc.ClientConnInterface {
		metered := searchmeter.New(s.backends.search, searchmeter.Options{Meters: s.security.Meters, Collections: collections, Part: part})
		return searchroute.New(metered, s.security.Routes)
	}
	retrieval, search := searches("retrieval"), searches("")
	s.backends.search = search
	rules := detect.NewRules(s.cfg.Detectors, detect.All())
	inspector := inspect.New(rules, s.security.Metrics)
	var contents openai.Contents
	if s.security.Contents != nil {
		contents = s.security.Contents
	}
	if err := s.openConversations(inference, codec, inspector); err != nil {
		return err
	}
	s.openai = openai.New(openai.Deps{
		Contents: contents, Memory: s.conversations,
		Config:    s.cfg.OpenAI,
		Inference: inference,
		Meters:    s.security.Meters,
		Context:   contextbuilder.New(s.cfg.Context, searchv1.NewSearchServiceClient(retrieval), inference, inspector).WithClock(s.opts.clock),
		Inspector: inspector, Answers: s.answers(),
		Codec: codec, Clock: s.opts.clock, IDs: s.opts.ids, Responses: s.security.Responses, Log: s.opts.telemetry.Logger,
		Router: s.security.Routes, Allowance: s.security.Allowance,
	})
	kept, err := s.responseStore()
	if err != nil {
		return err
	}
	s.responses = responses.New(responses.Deps{
		Config: s.cfg.Responses, Chat: s.openai, Store: kept, Rules: rules, Codec: codec, Validator: s.validator,
		Signer: s.security.Responses, Clock: s.opts.clock, IDs: s.opts.ids, Log: s.opts.telemetry.Logger,
	})
	s.moderation = moderation.New(detect.All(), s.opts.ids)
	if err := s.newBatches(ctx); err != nil {
		return err
	}
	s.feedback = feedback.New(registryv1.NewRegistryServiceClient(s.backends.registry), s.security.Responses)
	s.tensors = openinference.New(openinference.Deps{
		Hints: s.cfg.OpenAI, Inference: inference, Limits: s.cfg.Tensors, Ready: s.readiness.Ready, Version: s.opts.version,
		Clock: s.opts.clock, Log: s.opts.telemetry.Logger,
	})
	if err := s.register(discardRegistrar{}); err != nil {
		return err
	}
	// Whoever asks for a chat here makes the request for that, and only reads the answer.
	conn := inproc.New(s.chain, s.RegisterGRPC, inproc.SameRequest(), inproc.SameEnd(), //nolint:contextcheck // it asks a context of its own
		inproc.Sharing(edgev1.OpenAIService_CreateChatCompletion_FullMethodName))
	mcp, err := s.mcp(conn)
	if err != nil {
		return err
	}
	pages, forms := s.pages() //nolint:contextcheck // requests bring their own
	door := s.security.Door() //nolint:contextcheck // visitors bring their own
	s.handler, err = gateway.New(ctx, s.cfg.HTTP, gateway.Deps{
		Conn: conn, Door: door, Hints: s.hintHeaders(), MCP: mcp, MCPBody: s.cfg.MCP.MaxBodyBytes,
		Codec: codec, Tensors: s.cfg.Tensors, Addresses: s.security.Addresses, Possession: s.security.Possession, Firewall: s.security.Firewall, Slow: s.security.Slow, Clock: s.opts.clock, IDs: s.opts.ids,
		Telemetry: s.opts.telemetry, Pages: pages, Forms: forms,
	})
	if err != nil {
		return err
	}
	return s.newRunner()
}

// pages returns what answers outside of the API: GET, and POST.
func (s *Service) pages() (get, post map[string]http.Handler) {
	get, post = openapi.Pages(s.opts.version, s.security.Login != nil), make(map[string]http.Handler)
	maps.Copy(get, s.security.Pages())
	maps.Copy(post, s.security.Forms())
	if login := s.security.Login; login != nil {
		maps.Copy(get, login.Get())
		maps.Copy(post, login.Post())
	}
	return get, post
}

// RegisterGRPC registers everything that the edge serves: OpenAI's API, feedback, the Open
// Inference Protocol, administration, search and the registry. Calls must pass Interceptors on
// their way.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	// New has tried it: what can fail does not depend on the registrar.
	_ = s.register(r)
}

func (s *Service) register(r grpc.ServiceRegistrar) error {
	edgev1.RegisterOpenAIServiceServer(r, s.openai)
	edgev1.RegisterResponsesServiceServer(r, s.responses)
	edgev1.RegisterConversationServiceServer(r, conversation.NewServer(s.conversations))
	edgev1.RegisterFileServiceServer(r, s.files)
	edgev1.RegisterBatchServiceServer(r, s.batches)
	edgev1.RegisterMessagesServiceServer(r, messages.New(s.openai, s.codec, s.validator))
	edgev1.RegisterModerationServiceServer(r, s.moderation)
	edgev1.RegisterMcpServiceServer(r, mcptool.NewServer(s.cfg.MCP.Enabled))
	edgev1.RegisterAdminServiceServer(r, s.security.Admin)
	edgev1.RegisterServiceAccountServiceServer(r, s.security.Admin)
	edgev1.RegisterAuditServiceServer(r, s.security.Admin)
	edgev1.RegisterFeedbackServiceServer(r, s.feedback)
	edgev1.RegisterPolicyServiceServer(r, s.security.Policies)
	edgev1.RegisterSessionServiceServer(r, s.security.Sessions)
	edgev1.RegisterBanServiceServer(r, s.security.BanAdmin)
	edgev1.RegisterCacheServiceServer(r, s.security.CacheAdmin)
	edgev1.RegisterAuditContentServiceServer(r, s.security.ContentAdmin)
	edgev1.RegisterUsageServiceServer(r, s.security.Usage)
	edgev1.RegisterWebhookServiceServer(r, s.security.Webhooks)
	edgev1.RegisterLimitServiceServer(r, s.security.LimitAdmin)
	edgev1.RegisterRequestServiceServer(r, s.security.Requests)
	edgev1.RegisterRouteServiceServer(r, s.security.RouteAdmin)
	oip.RegisterGRPCInferenceServiceServer(r, s.tensors)
	edgev1.RegisterMlflowServiceServer(r, mlflow.New(registryv1.NewRegistryServiceClient(s.backends.registry)))
	return errors.Join(
		proxy.Register(r, &searchv1.SearchService_ServiceDesc, s.backends.search, searchv1.SearchService_ImportDocuments_FullMethodName,
			searchv1.SearchService_BackupCollection_FullMethodName, searchv1.SearchService_RestoreCollection_FullMethodName),
		proxy.Register(r, &registryv1.RegistryService_ServiceDesc, s.backends.registry,
			registryv1.RegistryService_ExportArchive_FullMethodName, registryv1.RegistryService_ImportArchive_FullMethodName),
		proxy.Register(r, &registryv1.ArtifactService_ServiceDesc, s.backends.registry, registryv1.ArtifactService_AppendUpload_FullMethodName),
	)
}

// discardRegistrar registers nothing.
type discardRegistrar struct{}

func (discardRegistrar) RegisterService(*grpc.ServiceDesc, any) {}

// Interceptors is the chain around the edge's gRPC servers.
func (s *Service) Interceptors() grpcserver.Chain { return s.chain }

// Handler answers on the HTTP port.
func (s *Service) Handler() http.Handler { return s.handler }

// Readiness says whether a chat request would be served.
func (s *Service) Readiness() *health.Readiness { return s.readiness }

// AdminKeyPath is where the first key was written; empty when there was one
// before.
func (s *Service) AdminKeyPath() string { return s.security.AdminKeyPath }

// close releases what New opened, in the reverse order.
func (s *Service) close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	s.closers = nil
	return errors.Join(errs...)
}
