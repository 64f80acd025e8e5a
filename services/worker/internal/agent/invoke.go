package agent

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// work is one request on its way through an engine.
type work struct {
	agent  *Agent
	model  *model
	engine engine.Engine
	op     string
	from   string // the replica
	begun  time.Time
}

// begin takes a place on the model.
func (a *Agent) begin(digest, op, replica string) (*work, error) {
	m, e, err := a.lookup(digest)
	if err != nil {
		return nil, err
	}
	switch m.gate.enter(replica) {
	case full:
		return nil, apierr.New(apierr.Overloaded, "the model has as many requests as it takes on this worker").
			WithRetryAfter(m.gate.retryAfter())
	case shut:
		return nil, apierr.New(apierr.Unavailable, "the version takes no new requests on this worker")
	case admitted:
	}
	a.inFlight.Add(1)
	a.hub.loadChanged()
	return &work{agent: a, model: m, engine: e, op: op, from: replica, begun: a.parts.Clock.Now()}, nil
}

// end gives the place back and counts what came of the request.
func (w *work) end(ctx context.Context, usage *commonv1.TokenUsage, err error) {
	w.model.gate.leave(w.from, w.agent.parts.Clock.Now().Sub(w.begun))
	w.agent.inFlight.Add(-1)
	w.agent.hub.loadChanged()
	w.model.series.ended(ctx, w.op, usage, err)
}

func operationOf(op workerv1.Operation) (engine.Operation, string, error) {
	switch op {
	case workerv1.Operation_OPERATION_CHAT:
		return engine.Chat, opChat, nil
	case workerv1.Operation_OPERATION_COMPLETION:
		return engine.Completion, opCompletion, nil
	case workerv1.Operation_OPERATION_UNSPECIFIED:
	}
	return 0, "", apierr.Invalid("operation", "operation %v is not known", op)
}

// Invoke runs a request and returns the whole answer.
func (a *Agent) Invoke(ctx context.Context, req *workerv1.InvokeRequest) (resp *workerv1.InvokeResponse, err error) {
	op, label, err := operationOf(req.GetOperation())
	if err != nil {
		return nil, err
	}
	w, err := a.begin(req.GetDigest(), label, req.GetReplica())
	if err != nil {
		return nil, err
	}
	defer func() { w.end(ctx, resp.GetUsage(), err) }()
	answer, err := w.engine.Invoke(ctx, op, req.GetBody())
	if err != nil {
		return nil, err
	}
	return &workerv1.InvokeResponse{Body: answer.Body, Usage: answer.Usage}, nil
}
