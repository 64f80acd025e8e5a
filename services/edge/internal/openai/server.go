// Package openai answers OpenAI's API from the inference service. It decides
// nothing about who may ask and nothing about where models run: it turns typed
// requests into the engine's JSON and the engine's answers back, and keeps what
// it does not know. HTTP is not its business (package gateway). Start reading at
// Server.
package openai

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/again"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/responseid"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// The response headers that say who answered.
const (
	// HeaderModel is the version that answered, name@v3.
	HeaderModel = "x-poterne-model"
	// HeaderArm is the arm of the experiment, or of the traffic split, that the
	// caller fell into, and HeaderExperiment the experiment.
	HeaderArm        = "x-poterne-arm"
	HeaderExperiment = "x-poterne-experiment"
	// HeaderVariant is the variant of the version that answered, where that has
	// several, and HeaderVariantReason why it was not the best that is allowed:
	// placement or saturation.
	HeaderVariant       = "x-poterne-variant"
	HeaderVariantReason = "x-poterne-variant-reason"
	// HeaderPrompt is the version of the prompt that the conversation began with,
	// name@v2.
	HeaderPrompt = "x-poterne-prompt"
	// HeaderPolicy is what the policy changed of the request: max_tokens=256,
	// model=small.
	HeaderPolicy = "x-poterne-policy"
	// HeaderCache is what the response cache did: hit, miss, bypass, stale, or
	// hit-semantic.
	HeaderCache = "x-poterne-cache"
)

const cacheBypass = "bypass"

// ownWeights is how a version's own weights are called among its variants.
const ownWeights = "base"

// Inference is what this package needs of the inference service.
type Inference interface {
	Invoke(ctx context.Context, in *inferencev1.InvokeRequest, opts ...grpc.CallOption) (*inferencev1.InvokeResponse, error)
	InvokeStream(ctx context.Context, in *inferencev1.InvokeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error)
	Embed(ctx context.Context, in *inferencev1.EmbedRequest, opts ...grpc.CallOption) (*inferencev1.EmbedResponse, error)
	Rerank(ctx context.Context, in *inferencev1.RerankRequest, opts ...grpc.CallOption) (*inferencev1.RerankResponse, error)
	CountTokens(ctx context.Context, in *inferencev1.CountTokensRequest, opts ...grpc.CallOption) (*inferencev1.CountTokensResponse, error)
	ResolveServing(ctx context.Context, in *inferencev1.ResolveServingRequest, opts ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error)
	ListServedModels(ctx context.Context, in *inferencev1.ListServedModelsRequest, opts ...grpc.CallOption) (*inferencev1.ListServedModelsResponse, error)
	GetServedModel(ctx context.Context, in *inferencev1.GetServedModelRequest, opts ...grpc.CallOption) (*inferencev1.GetServedModelResponse, error)
}

// ContextBuilder packs passages into the prompt of a request that asks for
// retrieval, returns what the answer will rest on, and reads what answers cite.
type ContextBuilder interface {
	Build(ctx context.Context, req *edgev1.CreateChatCompletionRequest, count contextbuilder.Count) (*contextbuilder.Found, error)
	Citer(passages []*edgev1.Annotation) *contextbuilder.Citer
	NotFoundAnswer() string
}

// Deps is what a Server works with; all of it but Contents, Memory, Meters and Answers is needed.
type Deps struct {
	Config    Config
	Inference Inference
	// Meters are asked before a model works.
	Meters  metering.Meters
	Context ContextBuilder
	// Memory remembers conversations; nil: nobody does.
	Memory *conversation.Memory
	// Answers is where answers are kept, to be given again; nil: nowhere.
	Answers   *Answers
	Codec     *jsoncodec.Codec
	Clock     clock.Clock
	IDs       ids.Source
	Responses *responseid.Signer
	Inspector *inspect.Inspector
	// Contents keeps contents; nil: none are.
	Contents Contents
	// Router finds the routes of requests; nil: there are none. Allowance says whether
	// another model may answer; it is needed with a Router.
	Router    *route.Router
	Allowance Allowance
	Log       *slog.Logger
}

// Contents keeps the content of requests whose tenants want that.
type Contents interface {
	// Request takes what the engine gets, and the prompt of the registry that it
	// begins with, or nil.
	Request(ctx context.Context, body proto.Message, prompt *edgev1.ChatPrompt) error
}

// gather has a request's content kept, if the tenant wants that.
func (s *Server) gather(ctx context.Context, body proto.Message, prompt *edgev1.ChatPrompt) error {
	if s.Contents == nil {
		return nil
	}
	return s.Contents.Request(ctx, body, prompt)
}

// Server is edge.v1.OpenAIService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedOpenAIServiceServer
	Deps
	again   again.Policy
	texts   *buffers.Pool // of chunks
	alikes  sync.Pool     // of *alike
	told    told
	mirrors chan struct{} // one for each copy of a request in hand
}

// keptText is the largest buffer, in bytes, that a chunk is put together in again.
const keptText = 16 << 10

// New returns a server.
func New(d Deps) *Server {
	s := &Server{Deps: d, again: again.Policy{Clock: d.Clock, Log: d.Log}, texts: buffers.New(0, keptText)}
	if d.Router != nil {
		s.mirrors = make(chan struct{}, d.Router.Config.MaxMirrored)
	}
	return s
}

// routingKey is what a traffic split sticks to.
func routingKey(ctx context.Context, user string) string {
	if user != "" {
		return user
	}
	c, _ := identity.FromContext(ctx)
	return c.Subject
}

// Served tells the caller and the audit trail who answered.
func Served(ctx context.Context, setHeader func(metadata.MD) error, by *inferencev1.ServedBy) error {
	return served(ctx, setHeader, by, metadata.MD{HeaderCache: {cacheBypass}})
}

// served is Served with what else the caller is told.
func served(ctx context.Context, setHeader func(metadata.MD) error, by *inferencev1.ServedBy, md metadata.MD) error {
	names := namesOf(by)
	explainServing(ctx, names, by, md)
	return tell(ctx, setHeader, names, by, md)
}

// tell is served where it was noted already who answers.
func tell(ctx context.Context, setHeader func(metadata.MD) error, names names, by *inferencev1.ServedBy, md metadata.MD) error {
	return say(ctx, setHeader, names, by, naming(names, by, md))
}

// naming adds to md who answers.
func naming(names names, by *inferencev1.ServedBy, md metadata.MD) metadata.MD {
	values := [...]string{names.version, by.GetArm(), by.GetExperiment(), by.GetVariant(), reasonName(by.GetVariantReason()), names.prompt}
	for i, name := range [len(values)]string{HeaderModel, HeaderArm, HeaderExperiment, HeaderVariant, HeaderVariantReason, HeaderPrompt} {
		if values[i] != "" {
			md[name] = values[i : i+1 : i+1]
		}
	}
	return md
}

// say is tell with an md that names who answers.
func say(ctx context.Context, setHeader func(metadata.MD) error, names names, by *inferencev1.ServedBy, md metadata.MD) error {
	entry := audit.From(ctx)
	entry.SetServedBy(names.works)
	entry.SetArm(by.GetExperiment(), by.GetArm())
	if err := setHeader(md); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// names says who answers.
type names struct {
	version, prompt string // name@v3 each
	works           string // the version, with its variant and prompt
}

func namesOf(by *inferencev1.ServedBy) names {
	n := names{version: by.GetModel() + "@v" + strconv.Itoa(int(by.GetVersion()))}
	n.works = n.version
	if by.GetVariant() != "" && by.GetVariant() != ownWeights {
		n.works += " " + by.GetVariant()
	}
	if by.GetPrompt() != "" {
		n.prompt = fmt.Sprintf("%s@v%d", by.GetPrompt(), by.GetPromptVersion())
		n.works += " with " + n.prompt
	}
	return n
}

// responseID is the id of an answer that the caller gets now. The engine's own says
// nothing of what made it, or for whom.
func (s *Server) responseID(ctx context.Context, prefix string, by *inferencev1.ServedBy) string {
	caller, _ := identity.FromContext(ctx)
	return s.Responses.Make(prefix, caller, responseid.Served{
		Model: by.GetModel(), Experiment: by.GetExperiment(), Arm: by.GetArm(), Version: by.GetVersion(), Record: audit.From(ctx).ID(),
	}, s.Clock.Now())
}

func reasonName(r inferencev1.VariantReason) string {
	switch r {
	case inferencev1.VariantReason_VARIANT_REASON_PLACEMENT:
		return "placement"
	case inferencev1.VariantReason_VARIANT_REASON_SATURATION:
		return "saturation"
	case inferencev1.VariantReason_VARIANT_REASON_UNSPECIFIED:
		return ""
	default:
		return ""
	}
}

func unaryHeader(ctx context.Context) func(metadata.MD) error {
	return func(md metadata.MD) error { return grpc.SetHeader(ctx, md) }
}

// engineFailed is for an answer that the gateway cannot read.
func engineFailed(err error) error {
	return apierr.Wrap(apierr.EngineFailed, err, "the engine's answer cannot be read")
}

func (s *Server) now() int64 { return s.Clock.Now().Truncate(time.Second).Unix() }
