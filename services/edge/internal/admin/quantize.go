package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// Variants is what the server needs of the registry.
type Variants interface {
	ListVariants(ctx context.Context, in *registryv1.ListVariantsRequest, opts ...grpc.CallOption) (*registryv1.ListVariantsResponse, error)
	CreateVariant(ctx context.Context, in *registryv1.CreateVariantRequest, opts ...grpc.CallOption) (*registryv1.CreateVariantResponse, error)
}

// ownWeights is how a version's own weights are called among its variants.
const ownWeights = "base"

// registryTime bounds one question to the registry: the call's own deadline is
// hours away.
const registryTime = 30 * time.Second

// quantization is one QuantizeModel on its way.
type quantization struct {
	server  *Server
	req     *edgev1.QuantizeModelRequest
	name    string // of the variant
	source  string // that it is made from; empty for the version's own weights
	started *inferencev1.QuantizeStarted
}

// QuantizeModel has a variant made and registers it. Whether its name is free is
// asked before the caller is told anything, so that a refusal has a status of its
// own and no worker works for hours in vain.
func (s *Server) QuantizeModel(req *edgev1.QuantizeModelRequest, stream grpc.ServerStreamingServer[edgev1.QuantizeModelResponse]) error {
	q := &quantization{server: s, req: req, name: cmp.Or(req.GetVariant(), req.GetType())}
	if q.name == ownWeights {
		return apierr.Invalid("variant", "variant: %q is the version's own weights; choose another name", ownWeights)
	}
	// Leaving early, for whatever reason, ends the work.
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	events, err := s.inference.QuantizeModel(ctx, &inferencev1.QuantizeModelRequest{
		Model: req.GetModel(), Source: req.GetSource(), Type: req.GetType(), Text: []byte(req.GetText()), Window: req.GetWindow(),
		AllowRequantize: req.GetAllowRequantize(), WorkerId: req.GetWorkerId(), Threads: req.GetThreads(),
	})
	if err != nil {
		return err
	}
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			return apierr.New(apierr.Internal, "the quantisation ended without a result")
		}
		if err != nil {
			return err
		}
		out, err := q.answer(ctx, event)
		if err != nil {
			return err
		}
		if err := stream.Send(out); err != nil || out.GetVariant() != nil {
			return err
		}
	}
}

// answer is what the caller is told of an event.
func (q *quantization) answer(ctx context.Context, event *inferencev1.QuantizeModelResponse) (*edgev1.QuantizeModelResponse, error) {
	if started := event.GetStarted(); started != nil {
		q.started = started
		if q.source = started.GetSource(); q.source == ownWeights {
			q.source = ""
		}
		audit.From(ctx).SetResource(fmt.Sprintf("registry-variant/%s@v%d/%s", started.GetModel(), started.GetVersion(), q.name))
		if err := q.check(ctx); err != nil {
			return nil, err
		}
		return &edgev1.QuantizeModelResponse{Event: &edgev1.QuantizeModelResponse_Started{Started: started}}, nil
	}
	if q.started == nil {
		return nil, apierr.New(apierr.Internal, "the quantisation began without saying who does it")
	}
	if p := event.GetProgress(); p != nil {
		return &edgev1.QuantizeModelResponse{Event: &edgev1.QuantizeModelResponse_Progress{Progress: p}}, nil
	}
	variant, err := q.register(ctx, event.GetResult())
	if err != nil {
		return nil, err
	}
	return &edgev1.QuantizeModelResponse{Event: &edgev1.QuantizeModelResponse_Variant{Variant: variant}}, nil
}

// check refuses what the registry would refuse at the end: by then hours may have
// gone.
func (q *quantization) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	resp, err := q.server.variants.ListVariants(ctx, &registryv1.ListVariantsRequest{Model: q.started.GetModel(), Version: q.version()})
	if err != nil {
		return err
	}
	byName := make(map[string]*registryv1.Variant, len(resp.GetVariants()))
	for _, v := range resp.GetVariants() {
		byName[v.GetName()] = v
	}
	if err := q.free(byName); err != nil {
		return err
	}
	return q.comparable(byName[q.source])
}

// maxVariants is how many variants a version may have.
const maxVariants = 32

// free refuses a name that stands for something else. What is there may be the
// very thing that is asked for, to be measured now or to be had once more: that is
// known for certain only when the registry compares the content. So this goes on
// only where it is likely: under the name of the type, and made from the same
// source as far as that was noted.
func (q *quantization) free(byName map[string]*registryv1.Variant) error {
	there := byName[q.name]
	if there == nil {
		if len(byName) >= maxVariants {
			return apierr.New(apierr.FailedPrecondition, "%s@%s has %d variants, as many as it may: delete one first",
				q.started.GetModel(), q.version(), len(byName)).WithField("variant")
		}
		return nil
	}
	quality := there.GetQuality()
	if q.name == q.req.GetType() && (quality == nil || quality.GetSource() == q.source) {
		return nil
	}
	return apierr.New(apierr.AlreadyExists, "%s@%s has a variant %q already: choose another name, or delete it first",
		q.started.GetModel(), q.version(), q.name).WithField("variant")
}

// comparable refuses to measure against a variant of which nobody knows how good
// it is beside the version's own weights: the registry could not tell the loss.
func (q *quantization) comparable(source *registryv1.Variant) error {
	if q.source == "" || q.req.GetText() == "" || source.GetQuality() != nil {
		return nil
	}
	return apierr.New(apierr.FailedPrecondition, "the variant %q was not measured itself, so the loss of what is made from it "+
		"would not be known: make it from %q, measure %q first, or leave the text out", q.source, ownWeights, q.source).WithField("source")
}

func (q *quantization) version() string { return fmt.Sprintf("v%d", q.started.GetVersion()) }

// register registers what was made.
func (q *quantization) register(ctx context.Context, made *workerv1.QuantizeResult) (*registryv1.Variant, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	resp, err := q.server.variants.CreateVariant(ctx, &registryv1.CreateVariantRequest{
		Model: q.started.GetModel(), Version: q.version(), Variant: q.name, Spec: made.GetSpec(), Quality: q.quality(made),
		Description: q.description(made),
	})
	if err == nil {
		return resp.GetVariant(), nil
	}
	e := apierr.From(err)
	advice := "; the same call again is quick, also under another name"
	if e.Reason == apierr.AlreadyExists && e.Field == "spec" {
		advice = "" // the version has this content: it would be refused under any name
	}
	return nil, apierr.Wrap(e.Reason, err, "the weights were made and are on worker %s (%s), but could not be registered as variant %q of %s@%s: %s%s",
		q.started.GetWorkerId(), place(made), q.name, q.started.GetModel(), q.version(), e.Message, advice).
		WithRetryAfter(e.RetryAfter)
}

// quality is nil unless both were measured: without the source's figure the loss
// would be taken as given, and so as none.
func (q *quantization) quality(made *workerv1.QuantizeResult) *registryv1.Quality {
	own, source := made.GetPerplexity(), made.GetSourcePerplexity()
	if own == nil || source == nil {
		return nil
	}
	return &registryv1.Quality{
		Perplexity: own.GetValue(), PerplexityError: own.GetError(),
		SourcePerplexity: source.GetValue(), SourcePerplexityError: source.GetError(),
		Source: q.source, TextSha256: made.GetTextSha256(), Tokens: own.GetTokens(), Window: made.GetWindow(),
	}
}

// maxProgram bounds what of a quantiser's own description is kept.
const maxProgram = 256

func (q *quantization) description(made *workerv1.QuantizeResult) string {
	program := strings.ToValidUTF8(made.GetQuantizer()[:min(len(made.GetQuantizer()), maxProgram)], "")
	text := fmt.Sprintf("%s of %s", q.req.GetType(), cmp.Or(q.source, ownWeights))
	if program == "" {
		return text
	}
	return text + ", made by " + program
}

// place is where the weights are, for people.
func place(made *workerv1.QuantizeResult) string {
	for _, a := range made.GetSpec().GetArtifacts() {
		if a.GetUri() != "" {
			return a.GetUri()
		}
	}
	return "at a place that it does not tell"
}
