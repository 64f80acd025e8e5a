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

// copyOn is a form of a version that is ready on a worker that can be asked.
type copyOn struct {
	worker *fleet.Worker
	model  *workerv1.LoadedModel
}

// idle is for how long it was not used; 0 when that is not known.
func (c copyOn) idle() time.Duration {
	if c.model.GetLastUsedTime() == nil || c.model.GetActive()+c.model.GetQueued() > 0 {
		return 0
	}
	return c.worker.Report().State.GetObserveTime().AsTime().Sub(c.model.GetLastUsedTime().AsTime())
}

// copies are the ready ones, by digest.
type copies map[string][]copyOn

// copiesOf returns the ready copies of everything, those that shall stay longest
// first: all replicas see the same order.
func copiesOf(view *fleet.View) copies {
	out := make(copies)
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

// of returns the copies of a version in all its forms, the best first.
func (all copies) of(w *Want) []copyOn {
	if len(w.Version.Variants) < 2 {
		return all[w.Version.Digest]
	}
	forms := slices.Clone(w.Version.Variants)
	slices.SortStableFunc(forms, func(a, b *catalog.Variant) int {
		return cmp.Compare(w.rankOf(a.Digest), w.rankOf(b.Digest))
	})
	var out []copyOn
	for _, one := range forms {
		out = append(out, all[one.Digest]...)
	}
	return out
}

// surplus finds copies that are not needed: more than the most at once, more than
// desired when that was so for the policy's time, and those of a variant that a
// better one has taken the place of. One of a version goes at a time, of the worst
// variant, the same for all replicas.
func (c *Controller) surplus(now time.Time, p picture, view *fleet.View) []Unload {
	if !c.opts.Catalog.Current() {
		return nil
	}
	var out []Unload
	all, users := copiesOf(view), usersOf(p.wants)
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact {
			continue
		}
		list := all.of(want)
		if !c.tooMany(now, p, want, list) {
			continue
		}
		last := list[len(list)-1]
		// What another version has too is not this one's to take.
		if digest := last.model.GetDigest(); users[digest] < 2 {
			c.trends[want.Version.Digest].surplus = time.Time{}
			out = append(out, Unload{Digest: digest, Worker: last.worker})
		}
	}
	return out
}

// tooMany reports whether the last of a version's copies shall go now.
func (c *Controller) tooMany(now time.Time, p picture, want *Want, list []copyOn) bool {
	digest := want.Version.Digest
	t, policy := c.trends[digest], p.policies[digest]
	n, before := p.status[digest].Desired, t.copies
	t.copies = len(list)
	if len(list) == 0 {
		t.surplus = time.Time{}
		return false
	}
	last := list[len(list)-1]
	worse := want.rankOf(last.model.GetDigest()) > want.rankOf(list[0].model.GetDigest())
	replaced := worse && !want.Fallback
	if len(list) <= n && !replaced {
		t.surplus = time.Time{}
		return false
	}
	// One that went, perhaps by another replica's doing, is the one of this time.
	if t.surplus.IsZero() || len(list) < before {
		t.surplus = now
	}
	if now.Sub(c.reaper.seen[spot{last.worker.ID(), last.model.GetDigest()}]) < c.opts.MinLoaded {
		return false
	}
	patience := policy.IdleUnload
	switch {
	case len(list) > policy.Max, replaced && patience == 0:
		patience = c.opts.MinLoaded
	case policy.IdleUnload == 0:
		return false
	case n == 0:
		patience = 0 // it was idle for that long already
	}
	// A worse variant may be what somebody asks for by its digest.
	return now.Sub(t.surplus) >= patience && (!worse || last.idle() >= patience)
}

// usersOf counts the versions that have each digest among their forms.
func usersOf(wants []Want) map[string]int {
	out := make(map[string]int, len(wants))
	for i := range wants {
		if wants[i].exact {
			continue
		}
		for _, one := range wants[i].Version.Variants {
			out[one.Digest]++
		}
	}
	return out
}

// pin has workers told which copies are pinned, where they say otherwise.
func (c *Controller) pin(ctx context.Context, p picture, view *fleet.View, now time.Time) {
	all := copiesOf(view)
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact {
			continue
		}
		for i, held := range all.of(want) {
			// A worker that says no limit of models knows of no pins either.
			told := held.worker.Report().State.GetMaxModels() > 0
			if pin := i < want.Pinned; !told || pin == held.model.GetPinned() {
				continue
			}
			one := want.Version.Variant(held.model.GetDigest())
			if !c.asked.blocked(held.worker, one.Digest, now, want.Evict) {
				c.load(ctx, Load{Want: *want, Variant: one, Worker: held.worker, Pin: i < want.Pinned})
			}
		}
	}
}
