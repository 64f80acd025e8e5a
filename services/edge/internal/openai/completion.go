package openai

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/usagedetail"
)

const (
	objectCompletion   = "text_completion"
	completionIDPrefix = "cmpl-"
)

// CreateCompletion continues a text.
func (s *Server) CreateCompletion(ctx context.Context, req *edgev1.CreateCompletionRequest) (*edgev1.CreateCompletionResponse, error) {
	ctx, routed, err := s.route(ctx, route.Completion, &req.Model, req, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	c, err := s.prepareCompletion(ctx, req, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	c.routed = routed
	answer := new(edgev1.CreateCompletionResponse)
	resp, err := s.invoke(ctx, c, answer)
	if err != nil {
		return nil, err
	}
	answer.Model, answer.Object = routed.model(c.model), objectCompletion
	answer.Id = s.responseID(ctx, completionIDPrefix, resp.GetServedBy())
	answer.Created = or(c.plan.created(answer.GetCreated()), s.now())
	for _, choice := range answer.GetChoices() {
		legacy(choice, 0)
	}
	if answer.GetUsage() == nil {
		answer.Usage = usagedetail.Message(resp.GetUsage())
	}
	usagedetail.Complete(answer.GetUsage())
	return answer, s.inspectCompletion(ctx, c.model, answer)
}

// StreamCompletion continues a text piece by piece.
func (s *Server) StreamCompletion(req *edgev1.CreateCompletionRequest, out grpc.ServerStreamingServer[edgev1.CreateCompletionResponse]) error {
	wantUsage := req.GetStreamOptions().GetIncludeUsage()
	ctx := out.Context()
	ctx, routed, err := s.route(ctx, route.Completion, &req.Model, req, out.SetHeader)
	if err != nil {
		return err
	}
	c, err := s.prepareCompletion(ctx, req, out.SetHeader)
	if err != nil {
		return err
	}
	c.routed = routed
	w := &completionWriter{
		server: s, out: out, model: c.model, routed: routed, wantUsage: wantUsage, written: make(map[int32]int), plan: c.plan, begun: s.Clock.Now(),
		filter: newFilter(s.Inspector.Of(ctx, detect.Answer, c.model), max(req.GetN(), 1)*int32(authz.Prompts(req.GetPrompt()))),
	}
	usage, err := s.stream(ctx, c, out.SetHeader, w.write)
	if errors.Is(err, errFiltered) {
		return nil
	}
	if rest := w.filter.completionEnd(); err == nil && len(rest) > 0 {
		err = out.Send(&edgev1.CreateCompletionResponse{Id: w.id, Object: objectCompletion, Created: w.created, Model: routed.model(c.model), Choices: rest})
	}
	if err != nil || !wantUsage || w.usageSent || usage == nil {
		return err
	}
	total := usagedetail.Message(usage)
	s.tellBill(ctx, w.by, total, c.plan, w.begun)
	return out.Send(&edgev1.CreateCompletionResponse{
		Id: w.id, Object: objectCompletion, Created: w.created, Model: routed.model(c.model), Usage: total,
	})
}

// completionWriter turns the engine's chunks into the caller's.
type completionWriter struct {
	server    *Server
	out       grpc.ServerStreamingServer[edgev1.CreateCompletionResponse]
	model     string
	routed    *routed
	wantUsage bool
	usageSent bool
	begun     time.Time
	by        *inferencev1.ServedBy
	id        string
	created   int64
	written   map[int32]int // characters, by choice
	filter    *filter
	plan      *plan
}

func (w *completionWriter) write(by *inferencev1.ServedBy, raw []byte) error {
	w.by = by
	chunk := new(edgev1.CreateCompletionResponse)
	if err := w.server.Codec.Unmarshal(raw, chunk); err != nil {
		return engineFailed(err)
	}
	switch {
	case chunk.GetUsage() == nil:
	case len(chunk.GetChoices()) > 0:
		// llama-server tells it with the last choice; OpenAI's clients look for it
		// in a chunk of its own, which follows.
		chunk.Usage = nil
	case !w.wantUsage:
		return nil
	default:
		w.usageSent = true
		usagedetail.Complete(chunk.GetUsage())
		w.server.tellCost(w.out.Context(), by, chunk.GetUsage(), w.plan, w.begun)
	}
	for _, choice := range chunk.GetChoices() {
		if i := choice.GetIndex(); len(w.written) < maxChoices || w.written[i] > 0 {
			w.written[i] = legacy(choice, w.written[i])
		}
	}
	if w.id == "" {
		w.model = w.routed.model(w.model)
		w.id = w.server.responseID(w.out.Context(), completionIDPrefix, by)
		w.created = or(w.plan.created(chunk.GetCreated()), w.server.now())
	}
	chunk.Id, chunk.Created, chunk.Object, chunk.Model = w.id, w.created, objectCompletion, w.model
	w.filter.completion(chunk)
	if err := w.out.Send(chunk); err != nil {
		return err
	}
	if w.filter.over() {
		return errFiltered
	}
	return nil
}

func (s *Server) prepareCompletion(ctx context.Context, req *edgev1.CreateCompletionRequest, setHeader func(metadata.MD) error) (call, error) {
	if err := checkCompletion(req); err != nil {
		return call{}, err
	}
	if err := obeyCompletion(ctx, setHeader, req); err != nil {
		return call{}, err
	}
	user := req.GetUser() // as it came: whose requests are alike
	if err := s.inspectContinue(ctx, req, setHeader); err != nil {
		return call{}, err
	}
	plan, err := s.planCompletion(ctx, req)
	if err != nil {
		return call{}, err
	}
	req.Stream, req.Cache, req.StreamOptions = nil, nil, unknownStreamOptions(req.GetStreamOptions())
	if err := s.gather(ctx, req, nil); err != nil {
		return call{}, err
	}
	return call{
		model: req.GetModel(), operation: workerv1.Operation_OPERATION_COMPLETION, user: user, body: req,
		text: "prompt", extra: req.GetExtra(),
		maxTokens: authz.RequestedTokens(req), answers: authz.Answers(req), plan: plan,
	}, nil
}
