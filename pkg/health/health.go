// Package health knows which parts of a process are ready, and why the others
// are not. It says nothing about how a part is probed; start reading at
// Readiness.
package health

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// State is what is known of one check.
type State struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	// Reason says why the check is not ready; "" when it is.
	Reason string `json:"reason,omitempty"`
	// Since is when the check last turned ready or not ready.
	Since time.Time `json:"since"`
	// Advisory says that the whole is ready without this check.
	Advisory bool `json:"advisory,omitempty"`
}

// Readiness is a set of named checks. It is ready when every check is, and no
// drain was announced. All methods are safe for concurrent use.
type Readiness struct {
	clock clock.Clock

	mu        sync.Mutex
	checks    []*Check
	advisory  []*Readiness
	draining  string
	listeners []func(ready bool)
	last      bool
}

// NewReadiness returns an empty set, which is ready.
func NewReadiness(c clock.Clock) *Readiness {
	return &Readiness{clock: c, last: true}
}

// Check is one part's place in a Readiness.
type Check struct {
	set   *Readiness
	state State
}

// Register adds a check that is not ready, with the reason "starting". A name
// already registered gives the check that has it.
func (r *Readiness) Register(name string) *Check {
	r.mu.Lock()
	for _, c := range r.checks {
		if c.state.Name == name {
			r.mu.Unlock()
			return c
		}
	}
	c := &Check{set: r, state: State{Name: name, Reason: "starting", Since: r.clock.Now()}}
	r.checks = append(r.checks, c)
	r.changed() // unlocks
	return c
}

// Ready notes that the part can serve.
func (c *Check) Ready() { c.report(true, "") }

// NotReady notes that the part cannot serve, and why. The reason is shown on
// the ops port: it must hold no secret.
func (c *Check) NotReady(reason string) { c.report(false, reason) }

// Report notes what a probe found: nil is ready.
func (c *Check) Report(err error) {
	if err == nil {
		c.Ready()
		return
	}
	c.NotReady(err.Error())
}

func (c *Check) report(ready bool, reason string) {
	r := c.set
	r.mu.Lock()
	if c.state.Ready != ready {
		c.state.Since = r.clock.Now()
	}
	c.state.Ready, c.state.Reason = ready, reason
	r.changed()
}

// Drain makes the whole set not ready for good, for the given reason.
func (r *Readiness) Drain(reason string) {
	r.mu.Lock()
	r.draining = reason
	r.changed()
}

// Subscribe calls fn with the present state and then whenever the set turns
// ready or not ready. Calls are in order, one at a time, and must be short.
func (r *Readiness) Subscribe(fn func(ready bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners = append(r.listeners, fn)
	fn(r.ready())
}

// changed tells the listeners, in order, and unlocks r.mu, which is held.
func (r *Readiness) changed() {
	defer r.mu.Unlock()
	now := r.ready()
	if now == r.last {
		return
	}
	r.last = now
	for _, fn := range r.listeners {
		fn(now)
	}
}

func (r *Readiness) ready() bool {
	if r.draining != "" {
		return false
	}
	return !slices.ContainsFunc(r.checks, func(c *Check) bool { return !c.state.Ready })
}

// Ready reports whether the whole set is ready.
func (r *Readiness) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready()
}

// Report is what the readiness endpoint answers.
type Report struct {
	Ready bool `json:"ready"`
	// Degraded says that an advisory check is not ready.
	Degraded bool `json:"degraded,omitempty"`
	// Draining says why the process is ending, if it is.
	Draining string  `json:"draining,omitempty"`
	Checks   []State `json:"checks"`
}

// Report returns the state of every check, in the order of registration, and
// after them what other sets advise.
func (r *Readiness) Report() Report {
	r.mu.Lock()
	out := Report{Ready: r.ready(), Draining: r.draining, Checks: make([]State, 0, len(r.checks))}
	for _, c := range r.checks {
		out.Checks = append(out.Checks, c.state)
	}
	others := slices.Clone(r.advisory)
	r.mu.Unlock()
	for _, other := range others {
		for _, s := range other.Report().Checks {
			s.Advisory = true
			out.Checks = append(out.Checks, s)
			out.Degraded = out.Degraded || !s.Ready
		}
	}
	return out
}

// Advise shows the checks of another set in the report without making this one
// depend on them: a process with several services says what is broken in one
// and keeps serving the others. other must not lead back to r.
func (r *Readiness) Advise(other *Readiness) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advisory = append(r.advisory, other)
}

// ServeHTTP answers 200 when the set is ready and 503 otherwise, with the
// report as JSON.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	report := r.Report()
	body, err := json.Marshal(report)
	if err != nil {
		http.Error(w, "the report cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !report.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n'))
}
