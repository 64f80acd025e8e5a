package agent

import (
	"context"
	"errors"
	"strconv"
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
	life   *instance
	engine engine.Engine
	op     string
	from   string // the replica
	begun  time.Time
}

// begin takes a place on the model.
func (a *Agent) begin(digest, op, replica string) (*work, error) {
	m, life, err := a.lookup(digest)
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
	w := &work{agent: a, model: m, life: life, engine: life.engine, op: op, from: replica, begun: a.parts.Clock.Now()}
	m.touch(w.begun)
	return w, nil
}

// end gives the place back and counts what came of the request. It returns err,
// which says so when the engine ended under the request.
func (w *work) end(ctx context.Context, usage *commonv1.TokenUsage, err error) error {
	err = w.explain(ctx, err)
	now := w.agent.parts.Clock.Now()
	w.model.touch(now)
	w.model.gate.leave(w.from, now.Sub(w.begun))
	w.agent.inFlight.Add(-1)
	w.agent.hub.loadChanged()
	w.model.series.ended(ctx, w.op, usage, err)
	return err
}

// The metadata of the error of a request under which the engine ended, and of one for
// which there was none just now.
const (
	metadataEngineEnded = "engine_ended"
	metadataInFlight    = "in_flight"
	metadataEngineAway  = "engine_away"
)

// endDelay is how long after its connections broke an engine's end may be seen.
const endDelay = 200 * time.Millisecond

// explain says in err whether the engine's process ended while it had the
// request, and how many requests it had then: a request that ends engines must
// not be given to all of them.
func (w *work) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || w.life.child == nil || w.model.isDraining() {
		return err
	}
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || e.Reason != apierr.Unavailable && e.Reason != apierr.EngineFailed {
		return err
	}
	timer := w.agent.parts.Clock.NewTimer(endDelay)
	defer timer.Stop()
	select {
	case <-w.life.child.Exited():
	case <-timer.C():
		return err
	case <-ctx.Done():
		return err
	}
	return e.WithMetadata(metadataEngineEnded, "true").WithMetadata(metadataInFlight, strconv.Itoa(w.life.ended()))
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
	defer func() { err = w.end(ctx, resp.GetUsage(), err) }()
	answer, err := w.engine.Invoke(ctx, op, req.GetBody())
	if err != nil {
		return nil, err
	}
	return &workerv1.InvokeResponse{Body: answer.Body, Usage: answer.Usage}, nil
}
