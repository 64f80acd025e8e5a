package placement

import (
	"context"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// look asks for what is missing and for what is too much.
func (c *Controller) look(ctx context.Context, snapshot *catalog.Snapshot, view *fleet.View) {
	now := c.opts.Clock.Now()
	p := c.want(now, snapshot, view)
	hopeful := make(map[string]bool)
	facts := c.facts(now, view, p.wants, hopeful)
	planned := make(map[spot]bool)
	for _, l := range c.plan(now, p.wants, facts, view) {
		hopeful[l.Version.Digest] = true
		if at := (spot{l.Worker.ID(), l.Version.Digest}); c.ripe(at, now) {
			c.load(ctx, l)
		} else {
			planned[at] = true
		}
	}
	forget(c.held, planned)
	c.pin(ctx, p, view, now)
	for _, u := range append(c.reaper.due(now, c.opts.Catalog.Current(), snapshot, view.Workers), c.surplus(now, p, view)...) {
		if blocked, _ := c.unasked.blocked(u.Worker, u.Digest, now, false); !blocked {
			c.unload(ctx, u)
		}
	}
	for digest, s := range p.status {
		if s.Problem == "" && holders(digest, facts) < s.Desired {
			s.Problem = c.asked.problem(digest)
			p.status[digest] = s
		}
	}
	c.seen.Set(&outlook{snapshot: snapshot, view: view, hopeful: hopeful, status: p.status})
}

// plan leaves the workers out that other replicas may not see yet. Before the
// workers of the start were heard, what nobody seems to have may only not have
// been heard of.
func (c *Controller) plan(now time.Time, wants []Want, facts []Facts, view *fleet.View) []Load {
	if !view.Settled {
		return nil
	}
	if c.settled.IsZero() {
		c.settled = now
	}
	c.joined = time.Time{}
	for i := range facts {
		r := facts[i].Worker.Report()
		seen := r.Since.Add(min(c.opts.JoinDelay, 2*r.Away+propagation))
		if facts[i].Usable && r.Since.After(c.settled) && now.Before(seen) {
			facts[i].Usable = false
			if c.joined.IsZero() || seen.Before(c.joined) {
				c.joined = seen
			}
		}
	}
	return c.opts.Planner.Plan(wants, facts)
}

// propagation is about how long what one replica sees takes to be seen by the
// others.
const propagation = 100 * time.Millisecond

// ripe reports whether a planned load is to be asked for now, and holds it back
// for a while when it is new.
func (c *Controller) ripe(at spot, now time.Time) bool {
	if c.opts.Stagger <= 0 {
		return true
	}
	until, ok := c.held[at]
	if !ok {
		until = now.Add(time.Duration(c.opts.Jitter() * float64(c.opts.Stagger)))
		c.held[at] = until
	}
	return !now.Before(until)
}

// facts reads the workers' reports and fills in what was asked already.
func (c *Controller) facts(now time.Time, view *fleet.View, wanted []Want, hopeful map[string]bool) []Facts {
	c.noteFailing(now, view.Workers)
	tol := tolerance{absent: c.opts.AbsentGrace, failed: c.opts.FailedGrace}
	evict := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		evict[w.Version.Digest] = w.Evict
	}
	serves := func(digest string) bool { _, ok := evict[digest]; return ok }
	c.asked.keep(view.Workers, serves)
	loaded := make(map[string]bool)
	for _, w := range view.Workers {
		for _, m := range w.Report().State.GetModels() {
			loaded[m.GetDigest()] = true
		}
	}
	c.unasked.keep(view.Workers, func(digest string) bool { return loaded[digest] })
	out := make([]Facts, 0, len(view.Workers))
	for _, w := range view.Workers {
		id := w.ID()
		f := factsOf(w, now, tol, func(digest string) time.Duration { return now.Sub(c.failing[spot{id, digest}]) })
		for digest, evict := range evict {
			switch blocked, hope := c.asked.blocked(w, digest, now, evict); {
			case hope && f.Usable:
				f.Holds[digest], hopeful[digest] = true, true
			case blocked:
				f.Blocked[digest] = true
			}
		}
		out = append(out, f)
	}
	return out
}

// noteFailing keeps since when each version fails on each worker.
func (c *Controller) noteFailing(now time.Time, workers []*fleet.Worker) {
	present := make(map[spot]bool)
	for _, w := range workers {
		for _, m := range w.Report().State.GetModels() {
			if m.GetState() != workerv1.ModelState_MODEL_STATE_FAILED {
				continue
			}
			at := spot{w.ID(), m.GetDigest()}
			present[at] = true
			if _, ok := c.failing[at]; !ok {
				c.failing[at] = now
			}
		}
	}
	forget(c.failing, present)
}
