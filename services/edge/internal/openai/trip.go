package openai

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// tried makes one attempt. It calls first once, before anything of the answer can be
// seen, and gives up with its error: that came too late, and is not billed either.
type tried func(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, first func() error) error

// trip is the attempts of one request that a route is about. It is used by one
// goroutine.
type trip struct {
	s        *Server
	c        call
	rt       *routed
	course   *route.Course
	streamed bool
	try      tried
	attempts int
	// first is how the model that the request is for failed, and why the reason of that.
	first error
	why   route.Reason
}

func (s *Server) newTrip(c call, streamed bool, try tried) *trip {
	rt := c.routed
	return &trip{s: s, c: c, rt: rt, streamed: streamed, try: try, course: s.Router.Begin(rt.route, rt.tenant, c.model, !rt.forced)}
}

// bound ends ctx with the route's time for the whole request.
func (r *routed) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d := r.route.Timeouts.Request; d > 0 {
		return context.WithTimeoutCause(ctx, d, errRouteTime)
	}
	return ctx, func() {}
}

// run asks one model after another until one answers, or none is left. setHeader is the
// caller's; the meters tell of the first model only what they say of a request.
func (t *trip) run(ctx context.Context, setHeader func(metadata.MD) error) error {
	defer t.course.End()
	for {
		done, err := t.model(ctx, setHeader)
		if done {
			return err
		}
	}
}

// model has the present model asked. done says that there is nothing further.
func (t *trip) model(ctx context.Context, setHeader func(metadata.MD) error) (done bool, err error) {
	c := t.c
	c.model = t.course.Model()
	muted := t.course.Fallen() // what the meters say of a request was said of the first model
	if muted {
		var not string
		if ctx, not = t.s.instead(ctx, t.c, c.model); not == notTheirs {
			return t.skip(ctx, setHeader, explain.Attribute{Name: explain.AttributeWithheld, Value: c.model}, not, nil)
		} else if not != "" {
			return t.skip(ctx, setHeader, modelAttribute(c.model), not, nil)
		}
	}
	if t.course.Open() {
		t.failed(errOpen(c.model), route.Open)
		return t.skip(ctx, setHeader, modelAttribute(c.model), "it failed too often of late", nil)
	}
	req, err := t.s.request(ctx, c)
	if err != nil {
		return true, err
	}
	hold, err := t.s.Meters.Begin(ctx, t.s.demand(c, req), func(md metadata.MD) error {
		if muted {
			return nil
		}
		return setHeader(md)
	})
	muted = false
	if err != nil {
		t.course.End()
		if !t.course.Fallen() {
			return true, err
		}
		return t.skip(ctx, setHeader, modelAttribute(c.model), "its use was refused", err)
	}
	defer func() { hold.End(ctx, err) }()
	seen, next, err := t.askedOf(ctx, req, hold)
	switch {
	case err == nil || seen || ctx.Err() != nil:
		return true, err
	case next.Step == route.Fall || t.course.Back():
		return false, err
	default:
		return true, t.none(setHeader)
	}
}

// failed notes how the present model failed. Of the route's other models, which the
// caller did not ask for, nothing is noted where that is known of the first.
func (t *trip) failed(err error, why route.Reason) {
	if t.first == nil || !t.course.Fallen() {
		t.first, t.why = err, why
	}
}

// none is the error of a request that no model answered.
func (t *trip) none(setHeader func(metadata.MD) error) error {
	if t.attempts > 1 {
		if err := setHeader(metadata.Pairs(HeaderAttempts, strconv.Itoa(t.attempts))); err != nil {
			return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
		}
	}
	return t.first
}

// skip passes the present model over. done says that there is no other: the request's
// error is then how a model failed, or else err, which says more than that a model is
// passed over for now.
func (t *trip) skip(ctx context.Context, setHeader func(metadata.MD) error, model explain.Attribute, why string, err error) (done bool, _ error) {
	t.decide(ctx, explain.Decision{Outcome: "skipped", Detail: why}, model)
	t.s.Router.Observer.Attempted(ctx, t.rt.route.Name, "fallback", "skipped")
	if t.course.Skip() || err == nil && t.course.Back() {
		return false, nil
	}
	if t.first != nil && (err == nil || t.why != route.Open) {
		err = t.none(setHeader)
	}
	return true, err
}

// askedOf has one model asked, as often as the route has it. seen says that the caller
// may have seen some of the answer.
func (t *trip) askedOf(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold) (seen bool, next route.Next, err error) {
	req.NoRestartWait = t.course.Falls(route.Unavailable) // another model may answer at once
	for {
		kind := t.kind()
		t.attempts++
		start := t.s.Clock.Now()
		var why route.Reason
		seen, why, err = t.attempt(ctx, req, hold)
		d := explain.Decision{Outcome: "answered", Start: start, Duration: t.s.Clock.Now().Sub(start)}
		if err != nil {
			d.Outcome, d.Attributes = "failed", []explain.Attribute{{Name: "reason", Value: string(why)}}
		}
		if kind != "" {
			t.s.Router.Observer.Attempted(ctx, t.rt.route.Name, kind, d.Outcome)
		}
		model := t.course.Model()
		switch {
		case err == nil:
			t.course.Succeeded()
		case seen:
			t.course.End()
			d.Detail = "some of the answer was seen"
		default:
			err = t.c.failed(err)
			t.failed(err, why)
			next = t.course.Failed(ctx, why)
			d.Detail = next.Why
		}
		t.decide(ctx, d, modelAttribute(model))
		if err == nil || seen || next.Step != route.Again {
			return seen, next, err
		}
		if clock.Sleep(ctx, t.s.Clock, next.Wait) != nil {
			return false, route.Next{}, err
		}
		// The inference service tries workers by itself the first time, and waits for one:
		// neither attempts nor waits multiply.
		req.MaxAttempts, req.NoRestartWait = 1, req.GetNoRestartWait() || why != route.Unreached
	}
}

// kind is what the next attempt is; empty for the request's first.
func (t *trip) kind() string {
	switch {
	case t.course.Attempt() > 1:
		return "retry"
	case t.course.Fallen():
		return "fallback"
	default:
		return ""
	}
}

func modelAttribute(model string) explain.Attribute {
	return explain.Attribute{Name: "model", Value: model}
}

func (t *trip) decide(ctx context.Context, d explain.Decision, model explain.Attribute) {
	d.Step = explain.Attempt
	d.Attributes = append(d.Attributes, model, explain.Attribute{Name: "attempt", Value: strconv.Itoa(t.attempts)})
	audit.From(ctx).Decide(d)
}

// attempt asks once, in the route's time.
func (t *trip) attempt(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold) (seen bool, why route.Reason, err error) {
	limit := t.rt.route.Timeouts.Attempt
	if t.streamed {
		limit = t.rt.route.Timeouts.FirstToken
	}
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var timer *time.Timer
	if limit > 0 {
		timer = time.AfterFunc(limit, func() { cancel(errAttemptTime) }) //nolint:forbidigo // as contexts' deadlines
		defer timer.Stop()
	}
	err = t.try(attempt, req, hold, func() error {
		if timer != nil && !timer.Stop() {
			return errAttemptTime // nobody sees what came just too late
		}
		seen = true
		t.course.Answers()
		if t.course.Fallen() {
			t.rt.name = t.course.Model()
		}
		return nil
	})
	if err == nil {
		return seen, "", nil
	}
	why, err = t.reason(ctx, attempt, err)
	return seen, why, err
}

// disclosing adds to a header that tells who answers what the route did.
func (t *trip) disclosing(setHeader func(metadata.MD) error) func(metadata.MD) error {
	return func(md metadata.MD) error {
		if t.course.Fallen() {
			md.Set(HeaderFallback, t.c.model+";reason="+string(t.why))
		}
		if t.attempts > 1 {
			md.Set(HeaderAttempts, strconv.Itoa(t.attempts))
		}
		return setHeader(md)
	}
}
