package openai

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// asking asks the inference service once.
type asking[T any] func(ctx context.Context, as attempt) (T, error)

// attempt is what the inference service may do for one: try so many workers, 0 for as
// many as it has, and wait for an engine that is started again or not.
type attempt struct {
	workers       int32
	noRestartWait bool
}

// twice is work that may be done a second time while the first is in hand: what that may
// come to, and what of it an answer tells.
type twice[T any] struct {
	demand metering.Demand
	use    func(T) metering.Use
}

// askUnary asks the inference service for vectors or scores: again as the request's
// route says, or where it has none when the connection fails. hedge is about the second
// one, if the route wants the work done twice; nil: it never is.
func askUnary[T any](ctx context.Context, s *Server, model string, hedge *twice[T], ask asking[T]) (out T, err error) {
	rt := routedFrom(ctx)
	if rt == nil {
		for n := 1; ; n++ {
			out, err := ask(ctx, attempt{})
			if err == nil || !s.again.May(ctx, n, err) {
				return out, err
			}
		}
	}
	ctx, cancel := rt.bound(ctx)
	defer cancel()
	t := &trip{s: s, rt: rt, course: s.Router.Begin(rt.route, rt.tenant, model, false)}
	t.try = func(ctx context.Context, req *inferencev1.InvokeRequest, _ metering.Hold, first func() error) (err error) {
		as := attempt{workers: req.GetMaxAttempts(), noRestartWait: req.GetNoRestartWait()}
		if delay := rt.route.Hedge.Delay; hedge != nil && delay > 0 {
			out, err = hedged(ctx, s, t, model, hedge, func(ctx context.Context) (T, error) { return ask(ctx, as) })
		} else {
			out, err = ask(ctx, as)
		}
		if err == nil {
			err = first()
		}
		return err
	}
	_, _, err = t.askedOf(ctx, new(inferencev1.InvokeRequest), nil)
	rt.more.Add(int32(t.attempts - 1))
	return out, err
}

// hedged asks a second time where the first answer does not come soon, if there is room
// for it in the caller's budgets and limits. The answer that wins is its caller's to bill.
// The other one's work ends with its context: what it used is known, and billed beside the
// request, where its answer had come all the same.
func hedged[T any](ctx context.Context, s *Server, t *trip, model string, work *twice[T], ask func(ctx context.Context) (T, error)) (T, error) {
	var second metering.Hold // of the one who is asked second, until both have ended
	var asked atomic.Bool
	demand := work.demand
	demand.Optional = true
	out, won, err := route.Hedged(ctx, s.Clock, t.rt.route.Hedge.Delay, func() bool {
		return s.Router.Budget().Withdraw(t.rt.tenant)
	}, func(ctx context.Context, who int) (none T, _ error) {
		if who == 2 {
			hold, err := s.Meters.Begin(ctx, demand, func(metadata.MD) error { return nil })
			if err != nil {
				return none, route.ErrNotDone
			}
			second = hold
			asked.Store(true)
		}
		return ask(ctx)
	}, func(out T, err error) {
		if err == nil {
			second.Note(work.use(out))
		}
		second.End(audit.NewContext(ctx, nil), err) // the request's record ends with the request
	})
	if asked.Load() {
		t.rt.more.Add(1)
		outcome := "lost"
		if won == 2 && err == nil {
			outcome = "won"
		}
		s.Router.Observer.Attempted(ctx, t.rt.route.Name, "hedge", outcome)
		audit.From(ctx).Decide(explain.Decision{
			Step: explain.Attempt, Outcome: "hedged", Detail: "a second one was asked: it " + outcome,
			Attributes: []explain.Attribute{{Name: "model", Value: model}},
		})
	}
	return out, err
}

// trying is a request for one attempt. It may be in hand twice.
func trying(ask *inferencev1.EmbedRequest, as attempt) *inferencev1.EmbedRequest {
	if as == (attempt{ask.GetMaxAttempts(), ask.GetNoRestartWait()}) {
		return ask
	}
	out := sameAs(ask)
	out.MaxAttempts, out.NoRestartWait = as.workers, as.noRestartWait
	return out
}

// sameAs is another request for the same.
func sameAs(ask *inferencev1.EmbedRequest) *inferencev1.EmbedRequest {
	return &inferencev1.EmbedRequest{
		Model: ask.GetModel(), Inputs: ask.GetInputs(), InputType: ask.GetInputType(), Dimensions: ask.GetDimensions(), Extra: ask.GetExtra(),
		RoutingKey: ask.GetRoutingKey(), Priority: ask.GetPriority(), SessionId: ask.GetSessionId(), WaitForReady: ask.GetWaitForReady(),
		ExperimentHeaders: ask.GetExperimentHeaders(), MaxAttempts: ask.GetMaxAttempts(), NoRestartWait: ask.GetNoRestartWait(),
	}
}
