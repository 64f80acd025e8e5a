// Package obligation carries what a request must fulfil for the policy's allow
// to hold, from the step that asks the policy to the handlers that fulfil it.
// Start reading at Set.
package obligation

import (
	"context"
	"sync/atomic"
)

// Set is what the rules that allowed a request ask of it; the zero value asks
// for nothing.
type Set struct {
	// MaxTokens is the most that may be generated; 0: no bound.
	MaxTokens int32
	// Model is the model that must answer, as `model` of a request names one;
	// empty: the one asked for.
	Model string
	// Redact asks that what the detectors find be taken out of the request and of
	// the answer.
	Redact bool
	// Review marks the request for somebody to look at later.
	Review bool
}

// Key is what a context is asked for to find a request's *Place: for one that carries
// more than that.
type Key struct{}

// Place is where the obligations of one request are noted. Its zero value is empty,
// and it is safe for concurrent use.
type Place struct {
	set    atomic.Pointer[Set]
	limits atomic.Pointer[Limits]
}

// NewContext returns ctx with a place for the obligations of one request.
func NewContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, Key{}, new(Place))
}

// Note puts s into the place that ctx has, and reports whether it has one: a
// caller whose obligations cannot be noted must be refused.
func Note(ctx context.Context, s Set) bool {
	p, ok := ctx.Value(Key{}).(*Place)
	if ok {
		p.set.Store(&s)
	}
	return ok
}

// From returns what was noted last; nothing when nothing was.
func From(ctx context.Context) Set {
	if p, ok := ctx.Value(Key{}).(*Place); ok {
		if s := p.set.Load(); s != nil {
			return *s
		}
	}
	return Set{}
}

// Limits is what the policy lets a request reach, where it tells apart what may
// answer; the zero value limits nothing.
type Limits struct {
	// Verdicts is what is said of versions of models, as the inference service reads it
	// (inferencev1.PolicyVerdicts, encoded); nil for nothing.
	Verdicts []byte
	// Classes is which documents may be seen; nil for all.
	Classes *Classes
}

// NoteLimits is Note for limits.
func NoteLimits(ctx context.Context, l Limits) bool {
	p, ok := ctx.Value(Key{}).(*Place)
	if ok {
		p.limits.Store(&l)
	}
	return ok
}

// LimitsFrom returns the limits that were noted last; none when none were.
func LimitsFrom(ctx context.Context) Limits {
	if p, ok := ctx.Value(Key{}).(*Place); ok {
		if l := p.limits.Load(); l != nil {
			return *l
		}
	}
	return Limits{}
}
