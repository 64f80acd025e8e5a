package route

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Observer is told what routes do. Its labels are bounded: names of routes, of which
// there are MaxRoutes at most in each place, reasons and outcomes.
type Observer interface {
	// Routed counts a request that a route was about.
	Routed(ctx context.Context, route string)
	// Attempted counts an attempt that was not the first of its request: what is retry,
	// fallback, hedge or mirror, and outcome what came of it.
	Attempted(ctx context.Context, route, what, outcome string)
	// Opened tells that a model is not asked for a while.
	Opened(ctx context.Context)
}

type nobody struct{}

func (nobody) Routed(context.Context, string)                    {}
func (nobody) Attempted(context.Context, string, string, string) {}
func (nobody) Opened(context.Context)                            {}

// Options is what a Router needs; Observer may be nil.
type Options struct {
	Config   Config
	Clock    clock.Clock
	Observer Observer
	Log      *slog.Logger
	// Random returns numbers from 0 to below 1; nil is math/rand/v2's.
	Random func() float64
}

// Router finds the route of a request by the routes in force. It is safe for
// concurrent use.
type Router struct {
	Options

	routes  atomic.Pointer[[]Route]
	budget  *Budget
	breaker *breaker
}

// New returns a router that has no routes yet.
func New(o Options) *Router {
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	r := &Router{Options: o, budget: NewBudget(o.Config.RetryBudget, o.Clock)}
	r.breaker = newBreaker(o.Config.Breaker, o.Clock)
	r.Use(nil)
	return r
}

// Budget is what all retries are taken from.
func (r *Router) Budget() *Budget { return r.budget }

// Idle reports whether no routes are in force. A nil Router is idle.
func (r *Router) Idle() bool { return r == nil || len(*r.routes.Load()) == 0 }

// Use puts routes into force, which are complete and have been checked.
func (r *Router) Use(routes []Route) {
	in := slices.DeleteFunc(slices.Clone(routes), func(t Route) bool { return t.Disabled })
	slices.SortFunc(in, order)
	r.routes.Store(&in)
}

// order is that in which routes are looked at.
func order(a, b Route) int {
	if a.Priority != b.Priority {
		return b.Priority - a.Priority
	}
	return strings.Compare(a.Name, b.Name)
}

// Find returns the route of a request; nil: none is about it. It must not be changed.
func (r *Router) Find(f *Facts) *Route {
	routes := *r.routes.Load()
	for i := range routes {
		if routes[i].Match.misses(f) == "" {
			return &routes[i]
		}
	}
	return nil
}

// Verdict is what became of one route when a request was tested.
type Verdict struct {
	Route Route
	// Misses is the member of the match that the request does not fulfil; empty when it
	// fulfils all. Only the first of these is the request's.
	Misses string
}

// Test says of every route in force whether a request is its own, in the order in which
// they are looked at.
func (r *Router) Test(f *Facts) []Verdict {
	routes := *r.routes.Load()
	out := make([]Verdict, len(routes))
	for i := range routes {
		out[i] = Verdict{routes[i], routes[i].Match.misses(f)}
	}
	return out
}

// Mirrored reports whether this request is one of those that t's mirror gets.
func (r *Router) Mirrored(t *Route) bool {
	return t.Mirror.Model != "" && r.Random()*100 < t.Mirror.Percent
}

// backoff is how long to wait before attempt n, counted from 2: half of it is random,
// so that those who failed together do not come again together ("equal jitter", Brooker,
// Exponential Backoff and Jitter, AWS Architecture Blog, 2015).
func (r *Router) backoff(t *Retry, n int) time.Duration {
	d := t.Backoff
	for range n - 2 {
		if d >= t.MaxBackoff {
			break
		}
		d *= 2
	}
	d = min(d, t.MaxBackoff)
	return d/2 + time.Duration(r.Random()*float64(d-d/2))
}
