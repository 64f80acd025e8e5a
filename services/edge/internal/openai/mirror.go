package openai

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
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
	explainMirror(ctx, "copied", "a copy is sent, which nobody waits for", modelAttribute(t.Mirror.Model))
	req.Priority, req.WaitForReady = inferencev1.Priority_PRIORITY_BATCH, nil
	// What the copy uses is not the request's. What became of it is in the request's record
	// where it is known before that ends.
	own, cancel := context.WithTimeout(audit.NewContext(context.WithoutCancel(own), nil), mirrorTime)
	go func() {
		defer func() { <-s.mirrors }()
		defer cancel()
		end := endOf(s.mirrored(own, c, req))
		count(end.counted)
		explainMirror(ctx, end.outcome, end.why, modelAttribute(t.Mirror.Model))
	}()
}

// mirrorEnd is what became of a copy: as it is counted, and as it is explained.
type mirrorEnd struct{ counted, outcome, why string }

// endOf is what an error says of a copy; begun, that a model was asked.
func endOf(begun bool, err error) mirrorEnd {
	switch {
	case err == nil:
		return mirrorEnd{"answered", "mirrored", "the copy was answered"}
	case !begun:
		return mirrorEnd{"refused", "not-mirrored", "a limit or budget has no room for the copy"}
	case apierr.ReasonOf(err) == apierr.ModelNotFound:
		return mirrorEnd{"no-model", "not-mirrored", "there is no such model"}
	default:
		return mirrorEnd{"failed", "mirror-failed", "the copy failed: " + string(apierr.ReasonOf(err))}
	}
}

// explainMirror notes what becomes of the copy of a request; what comes after the request's
// end is lost.
func explainMirror(ctx context.Context, outcome, why string, model explain.Attribute) {
	audit.From(ctx).Decide(explain.Decision{Step: explain.Route, Outcome: outcome, Detail: why, Attributes: []explain.Attribute{model}})
}

// mirrored has a model work on a copy; begun says that it was asked.
func (s *Server) mirrored(ctx context.Context, c call, req *inferencev1.InvokeRequest) (begun bool, err error) {
	d := s.demand(c, req)
	d.Beside, d.Optional = true, true
	hold, err := s.Meters.Begin(ctx, d, func(metadata.MD) error { return nil })
	if err != nil {
		return false, err
	}
	defer func() { hold.End(ctx, err) }()
	resp, err := s.Inference.Invoke(ctx, req)
	if err == nil {
		hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
	}
	return true, err
}
