// Package gateway is the edge's HTTP side. It turns HTTP into calls on the edge's
// own gRPC services over a connection within the process, so that REST passes
// the same chain of interceptors as gRPC, and turns the answers back: through
// grpc-gateway, and by hand for chat and completions, where `stream` in the
// body decides between two RPCs. It decides nothing about callers. Start
// reading at New, then Handler.ServeHTTP.
package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/telemetry"
	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/contract"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/mcphttp"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/mlflow"
	"github.com/poterne/poterne/services/edge/internal/openinference"
	"github.com/poterne/poterne/services/edge/internal/possession"
	"github.com/poterne/poterne/services/edge/internal/tensor"
)

// Deps is what the HTTP side works with; all fields but Firewall, Forms and MCP are needed.
type Deps struct {
	// Conn leads to the edge's own services, through the chain.
	Conn grpc.ClientConnInterface
	// Door is the part of the chain that comes before a request's body is read.
	Door  *middleware.Door
	Codec *jsoncodec.Codec
	// Tensors bounds the bodies of the Open Inference Protocol.
	Tensors   tensor.Limits
	Addresses *clientaddr.Resolver
	// Possession knows whom to believe about clients' certificates.
	Possession *possession.Checker
	// Slow is told of requests whose client sends, or reads, too slowly.
	Slow func(ctx context.Context, side string)
	// Firewall judges requests; nil when it is off.
	Firewall  *firewall.Firewall
	Clock     clock.Clock
	IDs       ids.Source
	Telemetry *telemetry.Telemetry
	// Hints are the request headers that a call takes along.
	Hints []string
	// Pages answers GET for paths outside of the API, by path; a path that ends
	// in / answers for everything below it.
	Pages map[string]http.Handler
	// Forms answers POST for paths outside of the API, by path.
	Forms map[string]http.Handler
	// MCP speaks the Model Context Protocol; nil: nobody does. MCPBody bounds its
	// messages.
	MCP     http.Handler
	MCPBody config.Bytes
}

type handler struct {
	Deps
	hints     []hint
	cfg       Config
	routes    routes
	literal   literal
	same      bool // what Conn is handed is part of the request without metadata that says so
	gateway   *runtime.ServeMux
	openai    edgev1.OpenAIServiceClient
	responses edgev1.ResponsesServiceClient
	messages  edgev1.MessagesServiceClient
	files     edgev1.FileServiceClient
	admin     edgev1.AdminServiceClient
	tensors   oip.GRPCInferenceServiceClient
	search    searchv1.SearchServiceClient
	registry  registryv1.RegistryServiceClient
	artifacts registryv1.ArtifactServiceClient
	tracer    trace.Tracer
	kind      []trace.SpanStartOption // of every span
	noStore   []string                // a header's value, which answers replace and never change
	metrics   *metrics.HTTP
	access    *accessLog
	buffers   *buffers.Pool // of events
}

// keptEvents is the largest buffer, in bytes, that events are put together in again.
const keptEvents = 16 << 10

// New returns the handler of everything on the HTTP port.
func New(ctx context.Context, cfg Config, d Deps) (http.Handler, error) {
	h := &handler{
		Deps: d, cfg: cfg, same: inproc.IsSameRequest(d.Conn), openai: edgev1.NewOpenAIServiceClient(d.Conn), admin: edgev1.NewAdminServiceClient(d.Conn),
		responses: edgev1.NewResponsesServiceClient(d.Conn), messages: edgev1.NewMessagesServiceClient(d.Conn), files: edgev1.NewFileServiceClient(d.Conn),
		tensors: oip.NewGRPCInferenceServiceClient(d.Conn), search: searchv1.NewSearchServiceClient(d.Conn),
		artifacts: registryv1.NewArtifactServiceClient(d.Conn), registry: registryv1.NewRegistryServiceClient(d.Conn),
		tracer: d.Telemetry.Tracer(metrics.Scope), kind: d.Telemetry.SpanKind(trace.SpanKindServer), noStore: []string{"no-store"}, access: &accessLog{log: d.Telemetry.Logger},
		buffers: buffers.New(0, keptEvents),
	}
	for _, file := range contract.Files() {
		for i := range file.Services().Len() {
			if err := h.routes.add(file.Services().Get(i)); err != nil {
				return nil, err
			}
		}
	}
	for _, rt := range openinference.Routes() {
		h.routes.page(rt.Method, rt.Path, rt.RPC)
	}
	for _, rt := range mlflow.Routes() {
		h.routes.page(rt.Method, rt.Path, rt.RPC)
	}
	h.routes.page(http.MethodGet, AuditExportPath, edgev1.AuditService_ExportAudit_FullMethodName)
	h.routes.page(http.MethodGet, UsageExportPath, edgev1.UsageService_ExportUsage_FullMethodName)
	h.routes.page(http.MethodPost, FilesPath, edgev1.FileService_UploadFile_FullMethodName)
	h.routes.page(http.MethodGet, FileContentPath, edgev1.FileService_GetFileContent_FullMethodName)
	h.routes.page(http.MethodPost, ImportPath, searchv1.SearchService_ImportDocuments_FullMethodName)
	h.routes.page(http.MethodGet, BackupPath, searchv1.SearchService_BackupCollection_FullMethodName)
	h.routes.page(http.MethodPost, RestorePath, searchv1.SearchService_RestoreCollection_FullMethodName)
	h.routes.page(http.MethodGet, ArchiveExportPath, registryv1.RegistryService_ExportArchive_FullMethodName)
	h.routes.page(http.MethodPost, ArchiveImportPath, registryv1.RegistryService_ImportArchive_FullMethodName)
	h.routes.page(http.MethodPost, UploadsPath, registryv1.ArtifactService_CreateUpload_FullMethodName)
	h.routes.page(http.MethodPatch, UploadPath, registryv1.ArtifactService_AppendUpload_FullMethodName)
	if d.MCP != nil {
		h.routes.page(http.MethodPost, mcphttp.Path, edgev1.McpService_ListMcpTools_FullMethodName)
	}
	for path := range d.Pages {
		if !strings.HasSuffix(path, "/") || path == "/" {
			h.routes.page(http.MethodGet, path, "")
		}
	}
	for path := range d.Forms {
		h.routes.page(http.MethodPost, path, "")
	}
	if err := h.profile(); err != nil {
		return nil, err
	}
	h.routes.nameSpans()
	h.literal = h.routes.literal()
	for _, name := range d.Hints {
		h.hints = append(h.hints, hint{key: strings.ToLower(name), header: http.CanonicalHeaderKey(name)})
	}
	var err error
	if h.metrics, err = metrics.NewHTTP(d.Telemetry); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if err := h.openGateway(ctx); err != nil {
		return nil, err
	}
	return h.withRequestID(withSecurityHeaders(cfg.TLS.HSTSMaxAge, h.withLimits(h.withCORS(h)))), nil
}

func (h *handler) openGateway(ctx context.Context) error {
	setQueryParser()
	h.gateway = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{h.Codec}),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(outgoing),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithMetadata(func(ctx context.Context, r *http.Request) metadata.MD { return h.callMetadata(ctx, r.Header) }),
		runtime.WithForwardResponseOption(callsControl),
		runtime.WithErrorHandler(gatewayError),
		runtime.WithRoutingErrorHandler(routingError),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		runtime.WithWriteContentLength(),
	)
	for _, register := range []func() error{
		func() error { return edgev1.RegisterOpenAIServiceHandlerClient(ctx, h.gateway, h.openai) },
		func() error { return edgev1.RegisterResponsesServiceHandlerClient(ctx, h.gateway, h.responses) },
		func() error { return edgev1.RegisterMessagesServiceHandlerClient(ctx, h.gateway, h.messages) },
		func() error {
			return edgev1.RegisterConversationServiceHandlerClient(ctx, h.gateway, edgev1.NewConversationServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterModerationServiceHandlerClient(ctx, h.gateway, edgev1.NewModerationServiceClient(h.Conn))
		},
		func() error { return edgev1.RegisterFileServiceHandlerClient(ctx, h.gateway, h.files) },
		func() error {
			return edgev1.RegisterBatchServiceHandlerClient(ctx, h.gateway, edgev1.NewBatchServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterAdminServiceHandlerClient(ctx, h.gateway, h.admin)
		},
		func() error {
			return edgev1.RegisterServiceAccountServiceHandlerClient(ctx, h.gateway, edgev1.NewServiceAccountServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterAuditServiceHandlerClient(ctx, h.gateway, edgev1.NewAuditServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterFeedbackServiceHandlerClient(ctx, h.gateway, edgev1.NewFeedbackServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterPolicyServiceHandlerClient(ctx, h.gateway, edgev1.NewPolicyServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterSessionServiceHandlerClient(ctx, h.gateway, edgev1.NewSessionServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterAuditContentServiceHandlerClient(ctx, h.gateway, edgev1.NewAuditContentServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterBanServiceHandlerClient(ctx, h.gateway, edgev1.NewBanServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterUsageServiceHandlerClient(ctx, h.gateway, edgev1.NewUsageServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterWebhookServiceHandlerClient(ctx, h.gateway, edgev1.NewWebhookServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterCacheServiceHandlerClient(ctx, h.gateway, edgev1.NewCacheServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterLimitServiceHandlerClient(ctx, h.gateway, edgev1.NewLimitServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterRequestServiceHandlerClient(ctx, h.gateway, edgev1.NewRequestServiceClient(h.Conn))
		},
		func() error {
			return edgev1.RegisterRouteServiceHandlerClient(ctx, h.gateway, edgev1.NewRouteServiceClient(h.Conn))
		},
		func() error {
			return searchv1.RegisterSearchServiceHandlerClient(ctx, h.gateway, h.search)
		},
		func() error {
			return registryv1.RegisterRegistryServiceHandlerClient(ctx, h.gateway, registryv1.NewRegistryServiceClient(h.Conn))
		},
		func() error { return registryv1.RegisterArtifactServiceHandlerClient(ctx, h.gateway, h.artifacts) },
	} {
		if err := register(); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
	}
	return nil
}

func (h *handler) serve(w *writer, r *http.Request, rt *route, allowed []string) {
	if rt == nil {
		h.unrouted(w, r, allowed)
		return
	}
	if page := h.page(rt); page != nil {
		page.ServeHTTP(&pageWriter{writer: w, request: r}, r)
		return
	}
	w.Header()["Cache-Control"] = h.noStore
	if modelsPath(r.URL.Path) {
		w.Header().Add("Vary", headerAnthropicVersion)
	}
	if anthropicRequest(r) {
		anthropicHeaders(w.Header(), r)
	}
	if form := h.Forms[rt.template]; rt.rpc == "" && form != nil {
		form.ServeHTTP(w, r)
		return
	}
	visitor := middleware.Visitor{
		Method: rt.rpc, Authorization: r.Header.Values("Authorization"),
		SetHeader: w.copyHeader,
	}
	if err := h.Door.Pass(r.Context(), visitor, func(ctx context.Context) {
		*r = *r.WithContext(ctx) // r is a copy already
		h.call(w, r, rt)         //nolint:contextcheck // the request carries it
	}); err != nil {
		writeError(w, r, err)
	}
}

// page returns what answers a route that is no call; nil: it is one.
func (h *handler) page(rt *route) http.Handler {
	switch {
	case rt.rpc != "":
		return nil
	case rt.method == http.MethodPost:
		return h.Forms[rt.template]
	default:
		return h.Pages[rt.template]
	}
}

// call makes a request into a call, for somebody who was let in: nothing of the
// body was read before.
func (h *handler) call(w *writer, r *http.Request, rt *route) {
	w.body.allow(w.ResponseWriter, h.maxBody(rt))
	w.slow = func(side string) {
		middleware.Found(r.Context(), "slow/"+side+" block")
		h.Slow(r.Context(), side)
	}
	w.body.slow = w.slow
	if err := h.checkBody(r, rt); err != nil {
		writeError(w, r, err)
		return
	}
	if err := h.judge(r, rt); err != nil {
		writeError(w, r, err)
		return
	}
	if h.tensorCall(w, r, rt) {
		return
	}
	if mlflowPath(rt.template) {
		h.mlflow(w, r, rt)
		return
	}
	switch rt.rpc {
	case edgev1.OpenAIService_CreateChatCompletion_FullMethodName:
		h.chat(w, r)
	case edgev1.OpenAIService_CreateCompletion_FullMethodName:
		h.completion(w, r)
	case edgev1.ResponsesService_CreateResponse_FullMethodName:
		h.response(w, r)
	case edgev1.MessagesService_CreateMessage_FullMethodName:
		h.message(w, r)
	case edgev1.McpService_ListMcpTools_FullMethodName:
		h.mcp(w, r)
	case edgev1.OpenAIService_ListModels_FullMethodName, edgev1.OpenAIService_GetModel_FullMethodName:
		h.models(w, r, rt)
	case edgev1.AdminService_QuantizeModel_FullMethodName:
		h.quantize(w, r)
	case edgev1.AuditService_ExportAudit_FullMethodName:
		h.exportAudit(w, r)
	case edgev1.UsageService_ExportUsage_FullMethodName:
		h.exportUsage(w, r)
	case edgev1.FileService_UploadFile_FullMethodName:
		h.uploadFile(w, r)
	case edgev1.FileService_GetFileContent_FullMethodName:
		h.fileContent(w, r)
	case searchv1.SearchService_ImportDocuments_FullMethodName:
		h.importDocuments(w, r, rt)
	case searchv1.SearchService_BackupCollection_FullMethodName:
		h.backup(w, r)
	case searchv1.SearchService_RestoreCollection_FullMethodName:
		h.restore(w, r)
	case registryv1.RegistryService_ExportArchive_FullMethodName:
		h.exportArchive(w, r)
	case registryv1.RegistryService_ImportArchive_FullMethodName:
		h.importArchive(w, r)
	default:
		if h.tus(w, r, rt) {
			return
		}
		h.transcode(w, r)
	}
}

// transcode has the grpc-gateway make the call.
func (h *handler) transcode(w *writer, r *http.Request) {
	// It splits the path as it came, so that an escaped slash stays part of an id.
	u := *r.URL
	u.RawPath = r.URL.EscapedPath()
	r.URL = &u
	switch r.Method {
	case http.MethodHead:
		r.Method = http.MethodGet // the server leaves the body out by itself
		r.Body = http.NoBody
	case http.MethodGet, http.MethodDelete:
		r.Body = http.NoBody // the grpc-gateway would read to its end what means nothing
	default:
		if err := noQuery(r); err != nil {
			writeError(w, r, err)
			return
		}
	}
	h.gateway.ServeHTTP(w, r)
}
