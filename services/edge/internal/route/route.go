// Package route holds routes as data: which requests a route is about, and what is
// done with them: another model, times, attempts, fallbacks, a sticky key, a copy for
// another model, a hedge. It says what comes next when an attempt has failed; it asks
// no model itself. The terms are those of the Gateway API's HTTPRoute (matches,
// timeouts, retry, mirror, session persistence). Start reading at Route, then Router.
package route

import (
	"slices"
	"time"
)

// Operation is what a model or a collection is asked for.
type Operation string

// The operations.
const (
	Chat       Operation = "chat"
	Completion Operation = "completion"
	Embed      Operation = "embed"
	Rerank     Operation = "rerank"
	Search     Operation = "search"
)

// Operations returns every operation.
func Operations() []Operation { return []Operation{Chat, Completion, Embed, Rerank, Search} }

// generates reports whether the answer is written by a model, so that another model's
// stands in for it.
func (o Operation) generates() bool { return o == Chat || o == Completion }

// HeaderMatch says what a header of the request must be: present, exactly Value, or
// beginning with Prefix.
type HeaderMatch struct {
	// Name is in lower case.
	Name    string `yaml:"name" json:"name"`
	Value   string `yaml:"value" json:"value,omitempty"`
	Prefix  string `yaml:"prefix" json:"prefix,omitempty"`
	Present bool   `yaml:"present" json:"present,omitempty"`
}

// Match says which requests a route is about: those that fulfil all of it. A list that
// is empty is about all; a pattern may hold asterisks, which stand for anything.
type Match struct {
	Operations []Operation `yaml:"operations" json:"operations,omitempty"`
	// Paths is paths of REST, or full gRPC methods.
	Paths []string `yaml:"paths" json:"paths,omitempty"`
	// Models is names of models as the request asks for them; without an asterisk and
	// without @, whatever alias or version of it is asked for.
	Models []string `yaml:"models" json:"models,omitempty"`
	// Headers must all match.
	Headers  []HeaderMatch `yaml:"headers" json:"headers,omitempty"`
	Tenants  []string      `yaml:"tenants" json:"tenants,omitempty"`
	Subjects []string      `yaml:"subjects" json:"subjects,omitempty"`
	// Keys is ids of API keys.
	Keys []string `yaml:"keys" json:"keys,omitempty"`
}

// Timeouts bound the work of models on a request; 0 does not.
type Timeouts struct {
	// Request is for all attempts together.
	Request time.Duration `yaml:"request" json:"request,omitempty"`
	// Attempt is for one attempt, until its whole answer is there; not for streams.
	Attempt time.Duration `yaml:"attempt" json:"attempt,omitempty"`
	// FirstToken is for one attempt, until the first piece of a stream.
	FirstToken time.Duration `yaml:"first_token" json:"first_token,omitempty"`
}

// Reason is why an attempt failed, as far as routes tell apart.
type Reason string

// The reasons.
const (
	// Unreached says that the connection failed, and nobody answered.
	Unreached Reason = "unreached"
	// Unavailable says that no worker could serve the model.
	Unavailable Reason = "unavailable"
	// Overloaded says that the model's queue was full.
	Overloaded Reason = "overloaded"
	// EngineFailed says that an engine broke, or answered what nobody can read.
	EngineFailed Reason = "engine-failed"
	// Timeout says that one of the route's times was over.
	Timeout Reason = "timeout"
	// ContextLength says that the prompt was longer than the model's context. Asking the
	// same model again is of no use.
	ContextLength Reason = "context-length"
	// ModelNotFound says that there is no such model.
	ModelNotFound Reason = "model-not-found"
	// Unfit says that the model is none for such a request: it is for something else,
	// nothing of it serves, or the policy keeps the version that would from the caller.
	Unfit Reason = "unfit"
	// Open says that the model was not asked, since it failed too often of late.
	Open Reason = "open"
	// Other is everything else: the request's own fault, and the caller's leaving.
	Other Reason = "other"
)

// Reasons returns those that a route may name.
func Reasons() []Reason {
	return []Reason{Unreached, Unavailable, Overloaded, EngineFailed, Timeout, ContextLength, ModelNotFound}
}

// Retry says when the same model is asked again.
type Retry struct {
	// Attempts counts the first one too; 0 and 1 never ask again.
	Attempts int      `yaml:"attempts" json:"attempts,omitempty"`
	On       []Reason `yaml:"on" json:"on,omitempty"`
	// Backoff is before the second attempt; it doubles with each further one, up to
	// MaxBackoff, and half of each is random.
	Backoff    time.Duration `yaml:"backoff" json:"backoff,omitempty"`
	MaxBackoff time.Duration `yaml:"max_backoff" json:"max_backoff,omitempty"`
}

// Fallback says which models are asked, in their order, when the one before failed.
type Fallback struct {
	Models []string `yaml:"models" json:"models,omitempty"`
	// On is after which failures of the model before; after a fallback that cannot be
	// asked for such a request the next one is asked in any case.
	On []Reason `yaml:"on" json:"on,omitempty"`
}

// StickyBy is what requests are kept together by.
type StickyBy string

// What they may be.
const (
	ByHeader    StickyBy = "header"
	ByCookie    StickyBy = "cookie"
	ByPrincipal StickyBy = "principal"
)

// Sticky keeps requests of one key on one worker, where that costs nothing, unless
// they name a session of their own.
type Sticky struct {
	By StickyBy `yaml:"by" json:"by,omitempty"`
	// Name is the header's or the cookie's.
	Name string `yaml:"name" json:"name,omitempty"`
}

// Mirror has another model work on some of the requests too. Its answer is dropped.
type Mirror struct {
	Model string `yaml:"model" json:"model,omitempty"`
	// Percent is of the requests, from 0 to 100.
	Percent float64 `yaml:"percent" json:"percent,omitempty"`
}

// Hedge asks a second time where the first answer does not come soon (Dean and
// Barroso, The Tail at Scale, 2013). The first answer wins, the other is cancelled.
type Hedge struct {
	// Delay is when; 0 never.
	Delay time.Duration `yaml:"delay" json:"delay,omitempty"`
}

// Route is what is done with requests.
type Route struct {
	// Name is lower-case letters, digits and hyphens. Callers see it.
	Name string `yaml:"name" json:"name"`
	// Priority decides between routes about one request: the highest, and of equal ones
	// the first by name.
	Priority int   `yaml:"priority" json:"priority,omitempty"`
	Match    Match `yaml:"match" json:"match"`
	// Model is asked instead of the one that the request names; empty: that one.
	Model    string   `yaml:"model" json:"model,omitempty"`
	Timeouts Timeouts `yaml:"timeouts" json:"timeouts"`
	Retry    Retry    `yaml:"retry" json:"retry"`
	Fallback Fallback `yaml:"fallback" json:"fallback"`
	Sticky   Sticky   `yaml:"sticky" json:"sticky"`
	Mirror   Mirror   `yaml:"mirror" json:"mirror"`
	Hedge    Hedge    `yaml:"hedge" json:"hedge"`
	// Disabled routes are about nothing; one may hide a route of the configuration.
	Disabled bool `yaml:"disabled" json:"disabled,omitempty"`
}

// Complete fills in what is left out.
func (r *Route) Complete() {
	if r.Retry.Attempts == 0 {
		r.Retry.Attempts = 1
	}
	if r.Retry.Attempts > 1 {
		if len(r.Retry.On) == 0 {
			r.Retry.On = []Reason{Unreached, Unavailable}
		}
		if r.Retry.Backoff == 0 {
			r.Retry.Backoff = 25 * time.Millisecond
		}
		if r.Retry.MaxBackoff == 0 {
			r.Retry.MaxBackoff = max(time.Second, r.Retry.Backoff)
		}
	}
	if len(r.Fallback.Models) > 0 && len(r.Fallback.On) == 0 {
		r.Fallback.On = []Reason{Unreached, Unavailable, Overloaded, EngineFailed, Timeout}
	}
}

// Models is who is asked for a request that names model, in their order.
func (r *Route) Models(o Operation, model string) []string {
	if o == Search {
		return nil
	}
	if r.Model != "" {
		model = r.Model
	}
	out := []string{model}
	if o.generates() {
		for _, m := range r.Fallback.Models {
			if m != model {
				out = append(out, m)
			}
		}
	}
	return out
}

// Idle says, for people, what of the route has no effect on some of its operations.
func (r *Route) Idle() []string {
	var out []string
	if len(r.Match.Operations) == 0 {
		return nil // it says what it has for those that have it
	}
	only := func(what string, given bool, has func(Operation) bool) {
		for _, o := range r.Match.Operations {
			if given && !has(o) {
				out = append(out, what+" has no effect on "+string(o))
			}
		}
	}
	models := func(o Operation) bool { return o != Search }
	if len(r.Match.Models) > 0 && !slices.ContainsFunc(r.Match.Operations, models) {
		out = append(out, "match.models keeps the route from every search: searches name no model")
	}
	only("model", r.Model != "", models)
	only("retry", r.Retry.Attempts > 1, models)
	only("timeouts.attempt", r.Timeouts.Attempt > 0, models)
	only("timeouts.first_token", r.Timeouts.FirstToken > 0, Operation.generates)
	only("fallback", len(r.Fallback.Models) > 0, Operation.generates)
	only("sticky", r.Sticky.By != "", models)
	only("mirror", r.Mirror.Model != "", Operation.generates)
	only("hedge", r.Hedge.Delay > 0, func(o Operation) bool { return o == Embed || o == Search })
	return out
}
