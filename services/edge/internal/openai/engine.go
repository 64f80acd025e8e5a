package openai

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/inproc"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// call is a request on its way to the engine.
type call struct {
	model     string
	operation workerv1.Operation
	user      string
	body      proto.Message
	// asked is body as the caller wrote it; nil: it is to be written.
	asked []byte
	// text is the member that holds what the model reads.
	text string
	// prompt is the prompt of the registry that it begins with, or nil.
	prompt *edgev1.ChatPrompt
	// extra is the parameters that the gateway does not know, as JSON text.
	extra map[string]string
	// maxTokens is the most that may be generated, over all answers; 0: not said.
	maxTokens int64
	// answers is over how many; 0: what the model reads may depend on maxTokens.
	answers int64
	// plan is what the cache may do; nil: nothing.
	plan *plan
	// routed is what the request's route has for it; nil: none is about it.
	routed *routed
	// rests is what a chat's answer rests on; nil of others.
	rests *rests
}

// failed returns err naming the member that a prompt longer than the model's
// context came in: behind the edge nobody knows.
func (c call) failed(err error) error {
	if e := apierr.From(err); e.Reason == apierr.ContextLengthExceeded && e.Field == "" {
		return e.WithField(c.text)
	}
	return err
}

func (s *Server) request(ctx context.Context, c call) (*inferencev1.InvokeRequest, error) {
	h, err := s.Config.Hints(ctx, c.extra)
	if err != nil {
		return nil, err
	}
	body := c.asked
	if body == nil {
		if body, err = s.Codec.Marshal(c.body); err != nil {
			return nil, err
		}
	}
	req := &inferencev1.InvokeRequest{
		Model: c.model, Operation: c.operation, Body: body, RoutingKey: routingKey(ctx, c.user),
		Priority: h.Priority, SessionId: h.Session, WaitForReady: h.Wait, ExperimentHeaders: h.Headers,
	}
	if p := c.prompt; p != nil {
		req.Prompt = &inferencev1.Prompt{Id: p.GetId(), Version: p.GetVersion(), Variables: p.GetVariables()}
	}
	return req, nil
}

// invoke runs a request and reads the engine's whole answer into answer, unless that is
// nil, which it may be where there is neither a plan nor a route.
func (s *Server) invoke(ctx context.Context, c call, answer proto.Message) (resp *inferencev1.InvokeResponse, err error) {
	if c.plan != nil {
		return s.invokePlanned(ctx, c, answer)
	}
	if c.routed != nil {
		return s.invokeRouted(ctx, c, answer)
	}
	req, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	setHeader := unaryHeader(ctx)
	hold, err := s.Meters.Begin(ctx, s.demand(c, req), setHeader)
	if err != nil {
		return nil, err
	}
	defer func() { hold.End(ctx, err) }()
	for attempt := 1; ; attempt++ {
		resp, err = s.Inference.Invoke(ctx, req)
		if err == nil {
			break
		}
		if !s.again.May(ctx, attempt, err) {
			return nil, c.failed(err)
		}
	}
	hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
	if err := s.served(ctx, setHeader, resp.GetServedBy()); err != nil {
		return nil, err
	}
	audit.From(ctx).SetTokens(resp.GetUsage().GetPromptTokens(), resp.GetUsage().GetCompletionTokens())
	if answer == nil {
		return resp, nil
	}
	return resp, s.read(resp, answer)
}

// read makes the engine's answer a message.
func (s *Server) read(resp *inferencev1.InvokeResponse, answer proto.Message) error {
	if err := s.Codec.Unmarshal(resp.GetBody(), answer); err != nil {
		return engineFailed(fmt.Errorf("worker %s: %w", resp.GetServedBy().GetWorkerId(), err))
	}
	return nil
}

// send passes a chunk of the engine's on; by says who answers.
type send func(by *inferencev1.ServedBy, chunk []byte) error

// stream runs a request and gives each of the engine's chunks to pass, in
// order. It returns the tokens used once the answer is whole. Whatever it returns, the
// caller's end is to follow at once: with that of ctx the work on the engine stops.
func (s *Server) stream(ctx context.Context, c call, setHeader func(metadata.MD) error, pass send) (usage *commonv1.TokenUsage, err error) {
	if c.plan != nil {
		return s.streamPlanned(ctx, c, setHeader, pass)
	}
	if c.routed != nil {
		return s.streamRouted(ctx, c, setHeader, pass)
	}
	req, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	hold, err := s.Meters.Begin(ctx, s.demand(c, req), setHeader)
	if err != nil {
		return nil, err
	}
	defer func() { hold.End(ctx, err) }()
	c = call{text: c.text} // the rest is not needed any more, and an answer may last
	for attempt := 1; ; attempt++ {
		began, usage, err := s.streamOnce(ctx, req, hold, setHeader, pass)
		if err == nil {
			return usage, nil
		}
		if began || !s.again.May(ctx, attempt, err) {
			return nil, c.failed(err)
		}
	}
}

// streamOnce reports whether the caller may have seen some of the answer. When it returns
// early, for whatever reason, the end of ctx stops the work on the engine.
func (s *Server) streamOnce(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, setHeader func(metadata.MD) error, pass send) (began bool, _ *commonv1.TokenUsage, _ error) {
	req.BatchChunks = true
	a := &arriving{ctx: ctx, req: req, hold: hold, setHeader: setHeader, pass: pass, record: audit.From(ctx), direct: inproc.DirectFrom(ctx)}
	events, err := s.Inference.InvokeStream(ctx, req, inproc.Taking(func(answer any) error {
		event, ok := answer.(*inferencev1.InvokeStreamResponse)
		if !ok {
			return engineFailed(fmt.Errorf("its answer is a %T", answer))
		}
		a.failed = a.take(event)
		return a.failed
	}))
	if err != nil {
		return false, nil, err
	}
	for !a.over {
		event, err := events.Recv()
		switch {
		case err != nil && a.failed != nil:
			return a.began, nil, a.failed
		case err != nil && a.over:
			// The answer is whole: how its stream was closed changes nothing.
		case errors.Is(err, io.EOF):
			return a.began, nil, engineFailed(errors.New("the stream ended without its end"))
		case err != nil:
			return a.began, nil, err
		default:
			if err := a.take(event); err != nil {
				return a.began, nil, err
			}
		}
	}
	return a.began, a.usage, nil
}

// arriving is an answer that comes from the inference service.
type arriving struct {
	ctx       context.Context //nolint:containedctx // the request's
	req       *inferencev1.InvokeRequest
	hold      metering.Hold
	setHeader func(metadata.MD) error
	pass      send
	record    *audit.Entry
	direct    *inproc.Direct

	by     *inferencev1.ServedBy
	began  bool // the caller may have seen some of it
	over   bool // it is whole
	usage  *commonv1.TokenUsage
	failed error // of what was taken of a call within the process
}

// take passes on what has come, of which nothing is kept but texts.
func (a *arriving) take(event *inferencev1.InvokeStreamResponse) error {
	switch e := event.GetEvent().(type) {
	case *inferencev1.InvokeStreamResponse_ServedBy:
		a.by = e.ServedBy
	case *inferencev1.InvokeStreamResponse_Chunk:
		if !a.began {
			a.began = true
			if err := Served(a.ctx, a.setHeader, a.by); err != nil {
				return err
			}
			// It is not asked again; a prompt may be larger than all else of the stream.
			a.req.Body, a.req.Prompt = nil, nil
		}
		// Noted first: sending it may fail although the caller has it.
		used(a.record, a.hold, a.by, event.GetUsage())
		return passAll(a.direct, a.by, e.Chunk, event.GetMoreChunks(), a.pass)
	case *inferencev1.InvokeStreamResponse_Finish:
		if !a.began { // an answer without a chunk was still served by somebody
			if err := Served(a.ctx, a.setHeader, a.by); err != nil {
				return err
			}
		}
		a.over, a.usage = true, e.Finish.GetUsage()
		used(a.record, a.hold, a.by, a.usage)
	}
	return nil
}

// passAll passes chunks on that have come together, and leave together.
func passAll(direct *inproc.Direct, by *inferencev1.ServedBy, chunk []byte, more [][]byte, pass send) error {
	if len(more) == 0 {
		return pass(by, chunk)
	}
	direct.Hold()
	err := pass(by, chunk)
	for _, chunk := range more {
		if err == nil {
			err = pass(by, chunk)
		}
	}
	if left := direct.Release(); err == nil {
		err = left
	}
	return err
}

// used notes the tokens of what of the answer has come so far, for the record and
// the bill of a request that may end at any time.
func used(record *audit.Entry, hold metering.Hold, by *inferencev1.ServedBy, u *commonv1.TokenUsage) {
	if u != nil {
		record.SetTokens(u.GetPromptTokens(), u.GetCompletionTokens())
		hold.Note(metering.Use{By: by, Tokens: u})
	}
}

// or returns the first value unless it is the zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
