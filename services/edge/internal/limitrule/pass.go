package limitrule

import (
	"context"
	"slices"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// Pass is what a request that was let in holds. A nil Pass holds nothing.
type Pass struct {
	engine *Engine
	facts  Facts
	hold   *limit.Hold
	tokens []*Owned    // the rules about its tokens
	taken  []limit.Ask // what it took of the others
}

// Leave gives back what is in hand. It may be called more than once.
func (p *Pass) Leave(ctx context.Context) {
	if p != nil {
		p.hold.Release(ctx)
	}
}

type passKey struct{}

// Place is where a request's pass is found, once there is one.
type Place struct{ pass *Pass }

// NewContext returns ctx with a place.
func NewContext(ctx context.Context) (context.Context, *Place) {
	p := new(Place)
	return context.WithValue(ctx, passKey{}, p), p
}

// Put puts the pass of the request there.
func (p *Place) Put(pass *Pass) { p.pass = pass }

// Meter limits tokens: those that a request may come to are reserved before a model
// works, and settled by what the engine counted.
type Meter struct{ engine *Engine }

// NewMeter returns the meter of e's rules.
func NewMeter(e *Engine) Meter { return Meter{e} }

var _ metering.Meter = Meter{}

const (
	// bytesPerToken turns bytes into tokens before anybody has counted: rather few
	// bytes, so that what is reserved commonly suffices.
	bytesPerToken = 3
	// unboundedOutput is reserved for answers that the request does not bound; what
	// they take besides is owed.
	unboundedOutput = 1024
)

// Begin implements metering.Meter. What waits to be counted is counted only when the
// estimate does not fit.
func (m Meter) Begin(ctx context.Context, d metering.Demand, setHeader func(metadata.MD) error) (metering.Hold, error) {
	place, ok := ctx.Value(passKey{}).(*Place)
	if !ok || place.pass == nil || len(place.pass.tokens) == 0 {
		return nothing{}, nil
	}
	p := place.pass
	est := estimate{input: int64(d.PromptBytes)/bytesPerToken + 1, output: d.MaxTokens, rough: d.Count == nil}
	if d.Kind != metering.Generate {
		est.output = 0
	} else if est.output == 0 {
		est.output, est.unbounded = unboundedOutput, true
	}
	r := &reserved{engine: m.engine, rules: p.tokens}
	w := &work{}
	refused, err := r.take(ctx, w, p, est)
	if err == nil && refused != limit.None && p.tokens[refused].Kind != OutputTokens && d.Count != nil {
		var counted int64
		if counted, err = d.Count(ctx); err == nil && counted < est.input {
			w.clear()
			est.input = counted
			refused, err = r.take(ctx, w, p, est)
		} else {
			err = nil // what failed will fail again, and tell the caller why
		}
	}
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the limit cannot be judged")
	}
	if refused != limit.None && d.Optional {
		return nil, apierr.New(apierr.RateLimited, "a limit has no room")
	}
	w.tell(w.decisions, refused)
	if refused != limit.None {
		// Nothing is consumed of the limits that let the request in.
		for i := range p.taken {
			p.taken[i].Cost = -p.taken[i].Cost
		}
		_ = m.engine.buckets.Settle(ctx, p.taken)
		p.taken = nil
		return nil, m.engine.refuse(ctx, w, refused, setHeader)
	}
	r.asks = w.asks
	if err := w.headers(setHeader); err != nil {
		r.End(ctx, err)
		return nil, err
	}
	return r, nil
}

type nothing struct{}

func (nothing) Note(metering.Use)          {}
func (nothing) End(context.Context, error) {}

// reserved is the tokens reserved for one request.
type reserved struct {
	engine        *Engine
	rules         []*Owned
	asks          []limit.Ask // by rule, what was reserved
	input, output int64       // counted
	counted       bool
}

// estimate is what a request may come to.
type estimate struct {
	input, output int64
	// rough: nobody can count the input, and unbounded: nobody bounds the output. What
	// is only guessed is never more than a limit lets through at once.
	rough, unbounded bool
}

func (e estimate) of(o *Owned) int {
	n := tokens(o.Kind, e.input, e.output)
	sure := 0
	if !e.rough {
		sure += tokens(o.Kind, e.input, 0)
	}
	if !e.unbounded {
		sure += tokens(o.Kind, 0, e.output)
	}
	return max(min(n, o.limit.AtOnce()), sure)
}

func (r *reserved) take(ctx context.Context, w *work, p *Pass, e estimate) (int, error) {
	for _, o := range r.rules {
		w.add(o, limit.Ask{Bucket: o.bucket(&p.facts), Limit: o.limit, Cost: e.of(o), Away: o.Away.mode()})
	}
	return r.engine.buckets.Take(ctx, w.asks, w.answers())
}

func tokens(k Kind, input, output int64) int {
	var n int64
	switch k {
	case InputTokens:
		n = input
	case OutputTokens:
		n = output
	default:
		n = input + output
	}
	return int(min(max(n, 0), limit.MaxAmount+1))
}

// Note implements metering.Hold.
func (r *reserved) Note(u metering.Use) {
	if u.Tokens != nil {
		r.input, r.output, r.counted = int64(u.Tokens.GetPromptTokens()), int64(u.Tokens.GetCompletionTokens()), true
	}
}

// End implements metering.Hold. Work that failed before anything was counted is free;
// of an answer that nobody counted the reservation stays.
func (r *reserved) End(ctx context.Context, err error) {
	if !r.counted && err == nil {
		return
	}
	asks := slices.Clone(r.asks)
	for i := range asks {
		asks[i].Cost = tokens(r.rules[i].Kind, r.input, r.output) - asks[i].Cost
	}
	asks = slices.DeleteFunc(asks, func(a limit.Ask) bool { return a.Cost == 0 })
	if len(asks) > 0 {
		_ = r.engine.buckets.Settle(context.WithoutCancel(ctx), asks)
	}
}
