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
		hopeful[l.Variant.Digest] = true
		if at := (spot{l.Worker.ID(), l.Variant.Digest}); c.ripe(at, now) {
			c.load(ctx, l)
		} else {
			planned[at] = true
		}
	}
	forget(c.held, planned)
	all := copiesOf(view)
	c.pin(ctx, p, all, now)
	for _, u := range append(c.reaper.due(now, c.opts.Catalog.Current(), snapshot, view.Workers), c.surplus(now, p, all)...) {
		if !c.unasked.blocked(u.Worker, u.Digest, now, false) {
			c.unload(ctx, u)
		}
	}
	held := holders(facts)
	for i := range p.wants {
		c.tell(&p.wants[i], p.status, held, hopeful)
	}
	c.seen.Set(&outlook{snapshot: snapshot, view: view, hopeful: hopeful, status: p.status})
}

// tell completes what is said of a want once it is known what was asked.
func (c *Controller) tell(w *Want, status map[served]Status, holders map[string]int, hopeful map[string]bool) {
	held, digest := 0, w.Version.Digest
	for _, one := range w.forms() {
		held += holders[one.Digest]
		hopeful[digest] = hopeful[digest] || hopeful[one.Digest]
	}
	key := servedOf(w.Version)
	s, ok := status[key]
	if w.exact || !ok || s.Problem != "" || held >= s.Desired {
		return
	}
	for _, one := range w.forms() {
		if s.Problem = c.asked.problem(one.Digest); s.Problem != "" {
			status[key] = s
			return
		}
	}
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

// ripe reports whether the time of a planned load has come, and holds it back a
// little when it is new.
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
	for i := range wanted {
		for _, one := range wanted[i].Version.Variants { // those that may not serve are there to be unpinned
			evict[one.Digest] = evict[one.Digest] || wanted[i].Evict
		}
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
		for _, one := range c.asked.standings(w, now, evict) {
			switch {
			case one.hopeful && f.Usable:
				f.Holds[one.digest], hopeful[one.digest] = true, true
			case one.blocked:
				f.Blocked[one.digest] = true
			}
			f.Refused[one.digest] = one.refused
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
