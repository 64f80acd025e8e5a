package placement

import (
	"cmp"
	"context"
	"slices"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// picture is what shall be, at one look.
type picture struct {
	wants    []Want
	policies map[string]Policy // by digest
	status   map[string]Status
	loads    map[string]load
}

// want computes how many workers should have each version that serves. One that
// several models have follows the model that asks for the most.
func (c *Controller) want(now time.Time, snapshot *catalog.Snapshot, view *fleet.View) picture {
	p := picture{policies: make(map[string]Policy), status: make(map[string]Status), loads: loads(view.Workers)}
	if snapshot == nil {
		return p
	}
	asked := c.asking.take(now, func(digest string) bool { return p.loads[digest].copies > 0 })
	serving := make(map[string]bool)
	for _, v := range snapshot.Serving() {
		serving[v.Digest] = true
		policy := c.opts.Policies.Of(v.Model, labelsOf(snapshot, v.Model))
		t := c.trends[v.Digest]
		if t == nil {
			t = &trend{}
			c.trends[v.Digest] = t
		}
		l := p.loads[v.Digest]
		n := t.desired(now, l, asked[v.Digest], policy, c.opts.TargetUtilization)
		p.policies[v.Digest] = policy
		p.status[v.Digest] = Status{Desired: n, Min: policy.Min, Max: policy.Max, Problem: policy.Problem}
		pinned := policy.Guaranteed
		if policy.Pinned {
			pinned = policy.Max
		}
		want := Want{Version: v, Replicas: n, WarmUp: policy.WarmUp, Pinned: pinned}
		// Others are driven out for what somebody waits for, or was promised, and
		// for no copy more.
		if l.copies == 0 && asked[v.Digest] || l.copies < policy.Guaranteed {
			want.Evict, want.Replicas = true, min(n, max(1, policy.Guaranteed))
		}
		p.wants = append(p.wants, want)
	}
	forget(c.trends, serving)
	return p
}

func labelsOf(s *catalog.Snapshot, model string) map[string]string {
	m, ok := s.Model(model)
	if !ok {
		return nil
	}
	return m.State.GetModel().GetLabels()
}

// copyOn is a version that is ready on a worker that can be asked.
type copyOn struct {
	worker *fleet.Worker
	model  *workerv1.LoadedModel
}

// copies returns the ready copies of every version, those that shall stay longest
// first: all replicas see the same order.
func copies(view *fleet.View) map[string][]copyOn {
	out := make(map[string][]copyOn)
	for _, w := range view.Workers {
		if !w.Usable() {
			continue
		}
		for _, m := range w.Report().State.GetModels() {
			if m.GetState() == workerv1.ModelState_MODEL_STATE_READY {
				out[m.GetDigest()] = append(out[m.GetDigest()], copyOn{w, m})
			}
		}
	}
	for digest, list := range out {
		slices.SortFunc(list, func(a, b copyOn) int {
			return cmp.Or(
				cmp.Compare(routing.Rendezvous(digest, b.worker.ID()), routing.Rendezvous(digest, a.worker.ID())),
				cmp.Compare(a.worker.ID(), b.worker.ID()),
			)
		})
	}
	return out
}

// surplus finds copies that are not needed: more than the most at once, more than
// desired when that was so for the policy's time. One of a version goes at a
// time, the same for all replicas.
func (c *Controller) surplus(now time.Time, p picture, view *fleet.View) []Unload {
	if !c.opts.Catalog.Current() {
		return nil
	}
	var out []Unload
	all := copies(view)
	for _, want := range p.wants {
		digest := want.Version.Digest
		list, t, policy := all[digest], c.trends[digest], p.policies[digest]
		n, before := p.status[digest].Desired, t.copies
		t.copies = len(list)
		if len(list) <= n {
			t.surplus = time.Time{}
			continue
		}
		// One that went, perhaps by another replica's doing, is the one of this time.
		if t.surplus.IsZero() || len(list) < before {
			t.surplus = now
		}
		last := list[len(list)-1].worker
		if now.Sub(c.reaper.seen[spot{last.ID(), digest}]) < c.opts.MinLoaded {
			continue
		}
		patience := policy.IdleUnload
		switch {
		case len(list) > policy.Max:
			patience = c.opts.MinLoaded
		case policy.IdleUnload == 0:
			continue
		case n == 0:
			patience = 0 // it was idle for that long already
		}
		if now.Sub(t.surplus) >= patience {
			t.surplus = time.Time{}
			out = append(out, Unload{Digest: digest, Worker: last})
		}
	}
	return out
}

// pin has workers told which copies are pinned, where they say otherwise.
func (c *Controller) pin(ctx context.Context, p picture, view *fleet.View, now time.Time) {
	all := copies(view)
	for _, want := range p.wants {
		for i, held := range all[want.Version.Digest] {
			// A worker that says no limit of models knows of no pins either.
			told := held.worker.Report().State.GetMaxModels() > 0
			if pin := i < want.Pinned; !told || pin == held.model.GetPinned() {
				continue
			}
			if blocked, _ := c.asked.blocked(held.worker, want.Version.Digest, now, want.Evict); !blocked {
				c.load(ctx, Load{Want: want, Worker: held.worker, Pin: i < want.Pinned})
			}
		}
	}
}
