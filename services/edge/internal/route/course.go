package route

import (
	"context"
	"slices"
	"time"
)

// Step is what comes after an attempt.
type Step int

// The steps.
const (
	// Stop: the request has failed.
	Stop Step = iota
	// Again: the same model is asked again, after Next.Wait.
	Again
	// Fall: another model is asked.
	Fall
)

// Next is what comes after an attempt that failed.
type Next struct {
	Step
	// Model is who is asked.
	Model string
	Wait  time.Duration
	// Why says why nothing comes, or not what the route lists, for people.
	Why string
}

// Course is one request's way through the attempts of its route. It is used by one
// goroutine at a time. However attempts fail, it ends: after Retry.Attempts at each of
// the models at most.
type Course struct {
	router *Router
	route  *Route
	tenant string
	models []string
	at     int // of models
	tries  int // at the present model
	// alone: somebody else asks the other models.
	alone bool
	// passed: the first model was, by its breaker. asked: one of the others was asked and
	// failed. back: the first one is asked after all.
	passed, asked, back bool
	// probes says that it tries the present model, which failed too often of late, for
	// everybody: what came of that is owed.
	probes bool
}

// Begin returns the course of a tenant's request, whose first attempt is at model.
// Models that failed too often of late are passed over while there are others. Whoever
// begins a course ends it, on every way out.
func (r *Router) Begin(t *Route, tenant, model string, fallbacks bool) *Course {
	c := &Course{router: r, route: t, tenant: tenant, models: make([]string, 1, 1+len(t.Fallback.Models)), tries: 1}
	c.models[0] = model
	if fallbacks {
		for _, m := range t.Fallback.Models {
			if m != model {
				c.models = append(c.models, m)
			}
		}
	}
	return c
}

// Alone keeps the course at its first model: whoever began it asks the others.
func (c *Course) Alone() { c.alone = true }

// Model is who is asked now.
func (c *Course) Model() string { return c.models[c.at] }

// Fallen reports whether it is not the one that the request is for.
func (c *Course) Fallen() bool { return c.at > 0 }

// Attempt counts the attempts at the present model, from 1.
func (c *Course) Attempt() int { return c.tries }

// Open reports whether the present model is to be passed over: it failed too often of
// late, and another one may answer. It must be asked before each model's first attempt.
func (c *Course) Open() bool {
	if c.last() {
		return false // it is asked in any case
	}
	may, probes := c.router.breaker.allow(c.Model())
	c.probes = c.probes || probes
	c.passed = c.passed || !may && c.at == 0
	return !may
}

func (c *Course) last() bool { return c.back || c.at+1 >= len(c.models) }

// Back has the first model asked after all, where only its breaker kept it from that and
// none of the others could be asked: it is then the last there is. It reports whether
// that is so.
func (c *Course) Back() bool {
	if !c.passed || c.asked || c.back {
		return false
	}
	c.End()
	c.back, c.at, c.tries = true, 0, 1
	return true
}

// Passed is Open for who does not ask the model by this course: it says the same, and
// tries nothing.
func (c *Course) Passed() bool { return c.at+1 < len(c.models) && c.router.breaker.open(c.Model()) }

// Skip passes the present model over, for a reason that is not its own, and reports
// whether there is another.
func (c *Course) Skip() bool {
	if c.last() {
		return false
	}
	c.End()
	c.at, c.tries = c.at+1, 1
	return true
}

// Falls reports whether another model may be asked where the present one fails for a
// reason, by this course or by whoever asks the others.
func (c *Course) Falls(why Reason) bool {
	return !c.last() && slices.Contains(c.route.Fallback.On, why)
}

// Succeeded notes that the present model answered.
func (c *Course) Succeeded() {
	if len(c.models) > 1 {
		c.router.breaker.done(c.Model(), true)
		c.probes = false
	}
}

// Answers notes that the present model begins to answer. A model that was tried is
// asked by others from then on, and not only when this answer, which may be long, ends.
func (c *Course) Answers() {
	if c.probes {
		c.Succeeded()
	}
}

// Failed notes why an attempt failed, of whose answer nothing was seen, and says what
// comes next.
func (c *Course) Failed(ctx context.Context, why Reason) Next {
	c.asked = c.asked || !unasked(why)
	if why == Other || why == Unfit && !c.Fallen() {
		c.End()
		return Next{Why: "asking again is of no use"}
	}
	refused := ""
	if c.tries < c.route.Retry.Attempts && slices.Contains(c.route.Retry.On, why) && slices.Contains(retriable(), why) {
		if c.router.budget.Withdraw(c.tenant) {
			c.tries++
			return Next{Step: Again, Model: c.Model(), Wait: c.router.backoff(&c.route.Retry, c.tries)}
		}
		refused = "the retry budget is used up"
	}
	if len(c.models) > 1 {
		c.probes = false
		if c.router.breaker.done(c.Model(), !ill(why)) {
			c.router.Observer.Opened(ctx)
		}
	}
	if !c.alone && c.Fall(why) {
		return Next{Step: Fall, Model: c.Model(), Why: refused}
	}
	if refused == "" {
		refused = "the route has nothing further"
	}
	return Next{Why: refused}
}

// Fall goes on to the next model, if the route has one for that reason, and reports
// whether there is. A fallback that cannot be asked for the request is passed over
// whatever the route's reasons are: these are about models that could be.
func (c *Course) Fall(why Reason) bool {
	c.passed = c.passed || why == Open && c.at == 0
	return (why == Open || c.Fallen() && unasked(why) || c.Falls(why)) && c.Skip()
}

// End lets somebody else try the present model, where this course was to and nothing is
// known of it. It may be called more than once.
func (c *Course) End() {
	if c.probes {
		c.router.breaker.forget(c.Model())
		c.probes = false
	}
}

// unasked reports whether a reason says that the model cannot be asked for the request.
func unasked(why Reason) bool {
	return slices.Contains([]Reason{Unfit, ModelNotFound, ContextLength}, why)
}

// ill reports whether a reason says something of the model's health.
func ill(why Reason) bool {
	return slices.Contains([]Reason{Unreached, Unavailable, EngineFailed, Timeout}, why)
}
