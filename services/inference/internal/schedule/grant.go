package schedule

import (
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// Grant is a request's place on a copy.
type Grant struct {
	lane    *lane
	job     Job
	copy    *fleet.Copy
	begun   time.Time
	waited  time.Duration
	first   atomic.Int64 // nanoseconds from begun to the first token
	charged float64
	ended   atomic.Bool
}

// Copy is where the request runs.
func (g *Grant) Copy() *fleet.Copy { return g.copy }

// Saturated says that better variants than the copy's were ready and had no room.
func (g *Grant) Saturated() bool { return g.job.saturated }

// Waited is how long the request waited for it.
func (g *Grant) Waited() time.Duration { return g.waited }

// grant puts a job on a copy; nil stays nil. l.mu is held.
func (l *lane) grant(t *ticket, c *fleet.Copy, now time.Time) *Grant {
	if c == nil {
		return nil
	}
	g := &t.Grant
	g.copy, g.begun, g.waited, g.charged = c, now, now.Sub(t.came), l.cost(&t.job)
	if g.job.Light {
		c.Hold()
		return g
	}
	c.Acquire()
	l.running++
	l.queue.Begin(g.job.Tenant, g.job.Class, g.charged)
	l.s.opts.Strategy.Began(&g.job, c)
	if g.job.Spare {
		l.spares[g] = struct{}{}
	}
	return g
}

// FirstToken notes that the answer has begun. Only the first call counts.
func (g *Grant) FirstToken() {
	d := max(1, g.lane.s.opts.Clock.Now().Sub(g.begun))
	if !g.first.CompareAndSwap(0, int64(d)) {
		return
	}
	g.lane.mu.Lock()
	defer g.lane.mu.Unlock()
	g.lane.s.opts.Strategy.FirstToken(&g.job, g.copy)
}

// End gives the place back and notes what came of the request. Only the first
// call counts.
func (g *Grant) End(r Result) {
	if g.ended.Swap(true) {
		return
	}
	l := g.lane
	now := l.s.opts.Clock.Now()
	r.Total = now.Sub(g.begun).Seconds()
	r.FirstToken = time.Duration(g.first.Load()).Seconds()
	if g.job.Light {
		g.copy.Drop()
		return
	}
	g.copy.Release()
	if r.Served {
		l.pace.Service.Observe(r.Total)
		g.copy.Service.Observe(r.Total)
	}
	if r.Served && r.Counted {
		l.pace.Output.Observe(float64(r.Output))
		if r.Prompt > 0 {
			l.pace.BytesPerToken.Observe(float64(g.job.Prompt.Bytes()) / float64(r.Prompt))
		}
	}
	correction := 0.0
	switch o := &l.s.opts; {
	case r.Counted:
		correction = o.InputWeight*float64(r.Prompt) + o.OutputWeight*float64(r.Output) - g.charged
	case !r.Served && !r.Cancelled:
		correction = -g.charged // nothing came of it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	delete(l.spares, g)
	l.used = now
	l.s.opts.Strategy.Ended(&g.job, g.copy, r)
	l.queue.End(g.job.Tenant, g.job.Class, correction)
	l.dispatch(now)
}

// defaultOutput is the tokens of an answer while none was seen.
const defaultOutput = 128

// cost is what a job is expected to cost its tenant.
func (l *lane) cost(j *Job) float64 {
	out := l.pace.Output.Or(defaultOutput)
	if j.Prompt.MaxTokens > 0 {
		out = min(out, float64(j.Prompt.MaxTokens))
	}
	return l.s.opts.InputWeight*l.pace.Tokens(j.Prompt.Bytes()) + l.s.opts.OutputWeight*out
}
