package openai

import (
	"context"
	"fmt"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// invokeRouted is invoke for a request that a route is about.
func (s *Server) invokeRouted(ctx context.Context, c call, answer proto.Message) (*inferencev1.InvokeResponse, error) {
	s.mirror(ctx, c)
	ctx, cancel := c.routed.bound(ctx)
	defer cancel()
	resp, err := s.wholeFrom(ctx, c, nil, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	if err := s.Codec.Unmarshal(resp.GetBody(), answer); err != nil {
		return nil, engineFailed(fmt.Errorf("worker %s: %w", resp.GetServedBy().GetWorkerId(), err))
	}
	return resp, nil
}

// wholeFrom has a whole answer made by the route's models, after the first where that
// failed already.
func (s *Server) wholeFrom(ctx context.Context, c call, failure error, setHeader func(metadata.MD) error) (resp *inferencev1.InvokeResponse, err error) {
	var t *trip
	t = s.newTrip(c, false, func(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, first func() error) error {
		out, err := s.Inference.Invoke(ctx, req)
		if err != nil {
			return err
		}
		if err := first(); err != nil {
			return err
		}
		hold.Note(metering.Use{By: out.GetServedBy(), Tokens: out.GetUsage()})
		resp = out
		return Served(ctx, t.disclosing(setHeader), out.GetServedBy())
	})
	if err := t.from(ctx, failure, setHeader); err != nil {
		return nil, err
	}
	audit.From(ctx).SetTokens(resp.GetUsage().GetPromptTokens(), resp.GetUsage().GetCompletionTokens())
	return resp, nil
}

// streamRouted is stream for a request that a route is about.
func (s *Server) streamRouted(ctx context.Context, c call, setHeader func(metadata.MD) error, pass send) (*commonv1.TokenUsage, error) {
	s.mirror(ctx, c)
	ctx, cancel := c.routed.bound(ctx)
	defer cancel()
	return s.streamFrom(ctx, c, nil, setHeader, pass)
}

// streamFrom is wholeFrom for a stream.
func (s *Server) streamFrom(ctx context.Context, c call, failure error, setHeader func(metadata.MD) error, pass send) (usage *commonv1.TokenUsage, err error) {
	var t *trip
	t = s.newTrip(c, true, func(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, first func() error) error {
		// The header is set once, before the first chunk is passed.
		header := func(md metadata.MD) error {
			if err := first(); err != nil {
				return err
			}
			return t.disclosing(setHeader)(md)
		}
		ctx, cancel := context.WithCancel(ctx) // another model may be asked
		defer cancel()
		var err error
		_, usage, err = s.streamOnce(ctx, req, hold, header, pass)
		return err
	})
	err = t.from(ctx, failure, setHeader)
	return usage, err
}

// from runs the trip; failure, unless it is nil, is how its first model failed elsewhere.
func (t *trip) from(ctx context.Context, failure error, setHeader func(metadata.MD) error) error {
	if failure != nil {
		t.attempts, t.first, t.why = 1, failure, reasonOf(failure)
		if !t.course.Fall(t.why) {
			return failure
		}
	}
	return t.run(ctx, setHeader)
}

// flyRouted makes an answer that several may get, by the route's first model only: what
// another one answers is for whom it is allowed, each by themselves.
func (s *Server) flyRouted(ctx context.Context, c call, req *inferencev1.InvokeRequest, hold metering.Hold, f *respcache.Flight, streamed bool) error {
	ctx, cancel := c.routed.bound(ctx)
	defer cancel()
	t := s.newTrip(c, streamed, func(ctx context.Context, req *inferencev1.InvokeRequest, hold metering.Hold, first func() error) error {
		if streamed {
			_, err := s.flyOnce(ctx, req, hold, f, first)
			return err
		}
		resp, err := s.Inference.Invoke(ctx, req)
		if err != nil {
			return err
		}
		if err := first(); err != nil {
			return err
		}
		explainWork(ctx, resp.GetServedBy())
		hold.Note(metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()})
		f.Whole(resp.GetServedBy(), resp.GetBody(), resp.GetUsage())
		return nil
	})
	t.course.Alone()
	defer t.course.End()
	if t.course.Open() { // somebody else tries it since this flight was decided on
		return errOpen(c.model)
	}
	_, _, err := t.askedOf(ctx, req, hold)
	return err
}

// openModel is the failure of a model that is not asked for a while; nil: it is asked.
// Whoever makes the answer tries a model whose time is over: this request may be given
// somebody else's.
func (s *Server) openModel(c call) error {
	if !c.routed.forced && s.Router.Begin(c.routed.route, c.routed.tenant, c.model, true).Passed() {
		return errOpen(c.model)
	}
	return nil
}

// fallen has the route's other models answer a request whose first one failed, of whose
// answer nothing was seen. What they answer is not kept.
func (s *Server) fallen(ctx context.Context, c call, led, streamed bool, failure error, setHeader func(metadata.MD) error, pass take) (*commonv1.TokenUsage, error) {
	p := c.plan
	if c.routed.forced || ctx.Err() != nil || !s.Router.Begin(c.routed.route, c.routed.tenant, c.model, true).Fall(reasonOf(failure)) {
		return nil, failure
	}
	if p.pack != nil && !led {
		if _, _, err := p.pack(ctx); err != nil {
			return nil, err
		}
	}
	if !led {
		s.mirror(ctx, c)
	}
	c.plan = nil
	p.replayed = false
	p.spent, _ = audit.From(ctx).Cost()
	audit.From(ctx).SetCache(cacheBypass)
	ctx, cancel := c.routed.bound(ctx)
	defer cancel()
	if streamed {
		return s.streamFrom(ctx, c, failure, setHeader, func(by *inferencev1.ServedBy, chunk []byte) error { return pass(by, chunk, true) })
	}
	resp, err := s.wholeFrom(ctx, c, failure, setHeader)
	if err != nil {
		return nil, err
	}
	return resp.GetUsage(), pass(resp.GetServedBy(), resp.GetBody(), false)
}

// notTheirs is why a caller may not have a model at all.
const notTheirs = "the caller may not have it"

// instead returns the context of an attempt at another model than the request is for,
// or why the caller may not have it: it must be allowed as if it had been asked for, and
// nothing may be asked of it that was not fulfilled for the first.
func (s *Server) instead(ctx context.Context, c call, model string) (_ context.Context, not string) {
	set, limits, err := s.Allowance.Allow(ctx, c.routed.method, model, c.body)
	have, reach := obligation.From(ctx), obligation.LimitsFrom(ctx)
	switch {
	case err != nil:
		return ctx, notTheirs
	case set.Model != "" && set.Model != model:
		return ctx, "the policy has another model answer for it"
	case set.MaxTokens > 0 && (c.maxTokens == 0 || c.maxTokens > int64(set.MaxTokens)):
		return ctx, "the policy lets it generate less"
	case set.Redact && !have.Redact:
		return ctx, "the policy has its texts redacted"
	case limits.Classes.Filter() != reach.Classes.Filter():
		return ctx, "the policy lets other documents be seen by it"
	case !s.Inspector.Alike(ctx, c.model, model):
		return ctx, "the detectors have other rules for it"
	}
	if set.Review {
		audit.From(ctx).SetReview()
	}
	ctx = obligation.NewContext(ctx)
	obligation.Note(ctx, have)
	obligation.NoteLimits(ctx, limits)
	return ctx, ""
}
