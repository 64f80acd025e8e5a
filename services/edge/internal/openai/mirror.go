package openai

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// mirrorTime bounds the work on a copy of a request.
const mirrorTime = 2 * time.Minute

// mirror has another model work on the request too, if the route wants that of this
// one. Nobody waits for it; it has the priority batch, and is metered beside the
// request. Where it may not be made, or too many are in hand, it is not.
func (s *Server) mirror(ctx context.Context, c call) {
	t := c.routed.route
	if c.routed.forced || t.Mirror.Model == c.model || !s.Router.Mirrored(t) {
		return
	}
	count := func(outcome string) { s.Router.Observer.Attempted(ctx, t.Name, "mirror", outcome) }
	select {
	case s.mirrors <- struct{}{}:
	default:
		count("dropped")
		explainMirror(ctx, "not-mirrored", "too many copies are in hand", modelAttribute(t.Mirror.Model))
		return
	}
	own, not := s.instead(ctx, c, t.Mirror.Model)
	c.model = t.Mirror.Model
	req, err := s.request(own, c)
	if not != "" || err != nil {
		<-s.mirrors
		count("skipped")
		about := modelAttribute(t.Mirror.Model)
		if not == notTheirs {
			about.Name = explain.AttributeWithheld
		}
		explainMirror(ctx, "not-mirrored", not, about)
		return
	}
	explainMirror(ctx, "mirrored", "a copy is worked on, which nobody waits for", modelAttribute(t.Mirror.Model))
	req.Priority, req.WaitForReady = inferencev1.Priority_PRIORITY_BATCH, nil
	// The request's record ends with the request.
	own, cancel := context.WithTimeout(audit.NewContext(context.WithoutCancel(own), nil), mirrorTime)
	go func() {
		defer func() { <-s.mirrors }()
		defer cancel()
		if s.mirrored(own, c, req) != nil {
			count("failed")
			return
		}
		count("answered")
	}()
}

// explainMirror notes what became of the copy of a request; what a model makes of it is
// not the request's.
func explainMirror(ctx context.Context, outcome, why string, model explain.Attribute) {
	audit.From(ctx).Decide(explain.Decision{Step: explain.Route, Outcome: outcome, Detail: why, Attributes: []explain.Attribute{model}})
}

func (s *Server) mirrored(ctx context.Context, c call, req *inferencev1.InvokeRequest) (err error) {
	d := s.demand(c, req)
	d.Beside = true
	hold, err := s.Meters.Begin(ctx, d, func(metadata.MD) error { return nil })
	if err != nil {
		return err
	}
	defer func() { hold.End(ctx, err) }()
	resp, err := s.Inference.Invoke(ctx, req)
	if err == nil {
		hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
	}
	return err
}
