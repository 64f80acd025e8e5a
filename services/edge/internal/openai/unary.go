package openai

import (
	"context"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// asking asks the inference service once; attempts is how many workers may be tried for
// it, 0 for as many as the service has.
type asking[T any] func(ctx context.Context, attempts int32) (T, error)

// askUnary asks the inference service for vectors or scores: again as the request's
// route says, or where it has none when the connection fails. hedges says that the work
// may be done twice, if the route says so.
func askUnary[T any](ctx context.Context, s *Server, model string, hedges bool, ask asking[T]) (out T, err error) {
	rt := routedFrom(ctx)
	if rt == nil {
		for attempt := 1; ; attempt++ {
			out, err := ask(ctx, 0)
			if err == nil || !s.again.May(ctx, attempt, err) {
				return out, err
			}
		}
	}
	ctx, cancel := rt.bound(ctx)
	defer cancel()
	t := &trip{s: s, rt: rt, course: s.Router.Begin(rt.route, rt.tenant, model, false)}
	t.try = func(ctx context.Context, req *inferencev1.InvokeRequest, _ metering.Hold, first func() error) (err error) {
		if delay := rt.route.Hedge.Delay; hedges && delay > 0 {
			out, err = hedged(ctx, s, t, model, func(ctx context.Context) (T, error) { return ask(ctx, req.GetMaxAttempts()) })
		} else {
			out, err = ask(ctx, req.GetMaxAttempts())
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

// hedged asks a second time where the first answer does not come soon. Only the answer
// that wins is billed: the other one's work ends with its context.
func hedged[T any](ctx context.Context, s *Server, t *trip, model string, ask func(ctx context.Context) (T, error)) (T, error) {
	second := false
	out, won, err := route.Hedged(ctx, s.Clock, t.rt.route.Hedge.Delay, func() bool {
		second = s.Router.Budget().Withdraw(t.rt.tenant)
		return second
	}, ask)
	if second {
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

// tryingOn is a request that may be tried on so many workers. It may be in hand twice.
func tryingOn(ask *inferencev1.EmbedRequest, attempts int32) *inferencev1.EmbedRequest {
	if attempts == ask.GetMaxAttempts() {
		return ask
	}
	out := sameAs(ask)
	out.MaxAttempts = attempts
	return out
}

// sameAs is another request for the same.
func sameAs(ask *inferencev1.EmbedRequest) *inferencev1.EmbedRequest {
	return &inferencev1.EmbedRequest{
		Model: ask.GetModel(), Inputs: ask.GetInputs(), InputType: ask.GetInputType(), Dimensions: ask.GetDimensions(), Extra: ask.GetExtra(),
		RoutingKey: ask.GetRoutingKey(), Priority: ask.GetPriority(), SessionId: ask.GetSessionId(), WaitForReady: ask.GetWaitForReady(),
		ExperimentHeaders: ask.GetExperimentHeaders(), MaxAttempts: ask.GetMaxAttempts(),
	}
}
