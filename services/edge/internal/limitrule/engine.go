package limitrule

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// Slots bound what is in hand at once (limit.Slots).
type Slots interface {
	Take(ctx context.Context, asks []limit.Ask, out []limit.Decision) (refused int, hold *limit.Hold, err error)
	Look(ctx context.Context, asks []limit.Ask, out []limit.Decision) error
}

// Refused is told of every refusal: by what the limit was counted, and of what unit.
type Refused func(ctx context.Context, by Dimension, unit limit.Unit)

// Engine lets requests in by the rules in force and each key's own limit. It is safe
// for concurrent use.
type Engine struct {
	buckets limit.Buckets
	slots   Slots
	refused Refused
	rules   atomic.Pointer[set]
	works   sync.Pool
}

// New returns an engine that has no rules yet. refused may be nil.
func New(buckets limit.Buckets, slots Slots, refused Refused) *Engine {
	if refused == nil {
		refused = func(context.Context, Dimension, limit.Unit) {}
	}
	e := &Engine{buckets: buckets, slots: slots, refused: refused}
	e.works.New = func() any { return new(work) }
	e.Use(nil)
	return e
}

// Idle reports whether no rules are in force, so that only a key's own limit counts.
func (e *Engine) Idle() bool { return e.rules.Load().empty() }

// Use puts rules into force, which are complete and have been checked.
func (e *Engine) Use(rules []Owned) { e.rules.Store(newSet(rules)) }

// work is what one request needs for a moment; it is used again by others.
type work struct {
	rules     []*Owned
	asks      []limit.Ask
	decisions []limit.Decision
	owners    []*Owned // of each ask; nil for the key's own limit
	policies  []limit.Policy
}

func (w *work) clear() {
	clear(w.rules)
	clear(w.asks)
	clear(w.owners)
	w.rules, w.asks, w.owners, w.policies = w.rules[:0], w.asks[:0], w.owners[:0], w.policies[:0]
}

func (w *work) add(o *Owned, ask limit.Ask) {
	w.asks, w.owners = append(w.asks, ask), append(w.owners, o)
}

// answers makes room for a decision about each ask.
func (w *work) answers() []limit.Decision {
	if cap(w.decisions) < len(w.asks) {
		w.decisions = make([]limit.Decision, len(w.asks))
	}
	w.decisions = w.decisions[:len(w.asks)]
	return w.decisions
}

// Admit lets a request of a cost in, and tells the caller what is left, or refuses it:
// then nothing was taken of any limit. What it returns must be left when the request
// has ended.
func (e *Engine) Admit(ctx context.Context, f *Facts, cost int, setHeader func(metadata.MD) error) (*Pass, error) {
	w, _ := e.works.Get().(*work)
	if w == nil {
		w = new(work)
	}
	defer func() {
		w.clear()
		e.works.Put(w)
	}()
	if rules := e.rules.Load(); !rules.empty() {
		w.rules = rules.of(f, w.rules)
	}
	var pass *Pass
	if len(w.rules) > 0 {
		pass = &Pass{engine: e, facts: *f}
		if err := e.hold(ctx, w, pass, setHeader); err != nil {
			return nil, err
		}
	}
	if err := e.take(ctx, w, f, cost, pass, setHeader); err != nil {
		pass.Leave(ctx)
		return nil, err
	}
	return pass, nil
}

// hold takes the slots of what is concurrent, which can be given back as if they had
// never been taken.
func (e *Engine) hold(ctx context.Context, w *work, pass *Pass, setHeader func(metadata.MD) error) error {
	for _, r := range w.rules {
		if r.Kind == Concurrent && !pass.facts.Later {
			w.add(r, limit.Ask{Bucket: r.bucket(&pass.facts), Limit: r.limit, Cost: 1, Away: r.Away.mode()})
		}
	}
	if len(w.asks) == 0 {
		return nil
	}
	out := w.answers()
	refused, hold, err := e.slots.Take(ctx, w.asks, out)
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the limit cannot be judged")
	}
	pass.hold = hold
	w.tell(out, refused)
	if refused == limit.None {
		w.asks, w.owners = w.asks[:0], w.owners[:0]
		return nil
	}
	return e.refuse(ctx, w, refused, setHeader)
}

// take takes from the buckets of the key and of rules about requests.
func (e *Engine) take(ctx context.Context, w *work, f *Facts, cost int, pass *Pass, setHeader func(metadata.MD) error) error {
	w.add(nil, limit.Ask{Bucket: keyBucket(f), Limit: limit.PerMinute(f.PerMinute), Cost: cost})
	for _, r := range w.rules {
		switch {
		case r.Kind == Requests:
			w.add(r, limit.Ask{Bucket: r.bucket(f), Limit: r.limit, Cost: cost, Away: r.Away.mode()})
		case r.Kind.tokens():
			pass.tokens = append(pass.tokens, r)
		}
	}
	out := w.answers()
	refused, err := e.buckets.Take(ctx, w.asks, out)
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the limit cannot be judged")
	}
	w.tell(out, refused)
	if refused != limit.None {
		return e.refuse(ctx, w, refused, setHeader)
	}
	if pass != nil && len(pass.tokens) > 0 {
		pass.taken = append(pass.taken, w.asks...) // to be given back when the tokens are refused
	}
	return w.headers(setHeader)
}

// keyBucket names what a key's own limit is counted by: the key, or for credentials
// without one, who shows them.
func keyBucket(f *Facts) string {
	b := make([]byte, 0, 96)
	return string(part(part(append(b, limit.PolicyDefault...), f.Tenant), f.key()))
}

// tell notes what the caller is told: what its own buckets have, and of those that
// tenants share only that one has refused.
func (w *work) tell(out []limit.Decision, refused int) {
	for i, d := range out {
		o := w.owners[i]
		switch {
		case o == nil:
			w.policies = append(w.policies, limit.Policy{Name: limit.PolicyDefault, Unit: limit.Requests, Decision: d})
		case i == refused || o.own():
			w.policies = append(w.policies, limit.Policy{
				Name: o.Name, Unit: o.Kind.unit(), Partition: o.partition(w.asks[i].Bucket), Decision: d,
			})
		}
	}
}

func (w *work) headers(setHeader func(metadata.MD) error) error {
	pairs := limit.Headers(w.policies)
	md := make(metadata.MD, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		md[pairs[i]] = pairs[i+1 : i+2 : i+2]
	}
	if err := setHeader(md); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// refuse tells the caller which limit refused.
func (e *Engine) refuse(ctx context.Context, w *work, refused int, setHeader func(metadata.MD) error) error {
	if err := w.headers(setHeader); err != nil {
		return err
	}
	o, by := w.owners[refused], ByKey
	if o != nil {
		by = "all"
		if len(o.By) > 0 {
			by = o.By[0]
		}
	}
	unit := limit.Requests
	if o != nil {
		unit = o.Kind.unit()
	}
	e.refused(ctx, by, unit)
	name := limit.PolicyDefault
	if o != nil {
		name = o.Name
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Limits, Outcome: "refused", Attributes: []explain.Attribute{
		{Name: "policy", Value: name},
		{Name: "counted_by", Value: string(by)},
		{Name: "unit", Value: string(unit)},
		{Name: "local", Value: strconv.FormatBool(w.decisions[refused].Local)},
	}})
	return refusal(o, w.asks[refused], w.decisions[refused])
}
